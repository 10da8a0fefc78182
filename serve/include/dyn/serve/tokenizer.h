#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dyn::serve {

/// Turns text into token ids and back. Implementations are immutable and may be shared by
/// threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::vector<std::uint32_t> encode(std::string_view text) const = 0;
  /// Ids that this tokenizer does not know are left out.
  virtual std::string decode(std::span<const std::uint32_t> tokens) const = 0;
};

/// One token per byte of UTF-8; the id is the byte's value.
class ByteTokenizer final : public Tokenizer {
 public:
  std::vector<std::uint32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::uint32_t> tokens) const override;
};

/// One message of a chat, its content already joined into one text.
struct ChatMessage {
  std::string role;
  std::string content;
};

/// The prompt of a chat: for each message `<|role|>`, a line break, the content and a line break;
/// then `<|assistant|>` and a line break. A longer chat therefore begins with the shorter one's
/// prompt up to its last marker, so that conversations share their KV prefix.
std::string render_chat(std::span<const ChatMessage> messages);

}  // namespace dyn::serve
