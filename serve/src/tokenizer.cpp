#include "dyn/serve/tokenizer.h"

namespace dyn::serve {

std::vector<std::uint32_t> ByteTokenizer::encode(std::string_view text) const {
  std::vector<std::uint32_t> tokens;
  tokens.reserve(text.size());
  for (const char c : text) {
    tokens.push_back(static_cast<unsigned char>(c));
  }
  return tokens;
}

std::string ByteTokenizer::decode(std::span<const std::uint32_t> tokens) const {
  std::string text;
  text.reserve(tokens.size());
  for (const std::uint32_t token : tokens) {
    if (token < 256) {
      text.push_back(static_cast<char>(static_cast<unsigned char>(token)));
    }
  }
  return text;
}

std::string render_chat(std::span<const ChatMessage> messages) {
  std::string prompt;
  for (const ChatMessage& message : messages) {
    prompt += "<|" + message.role + "|>\n" + message.content + '\n';
  }
  return prompt + "<|assistant|>\n";
}

}  // namespace dyn::serve
