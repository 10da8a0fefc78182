#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "dyn/kvbm/block_hash.h"
#include "dyn/policy/prompt_images.h"

namespace dyn::sim {

/// Tokens that text is taken for: one for each four bytes, as English has them.
constexpr std::int64_t kBytesPerToken = 4;
std::int64_t tokens_of(std::string_view text);

/// The blocks of a prompt that is given as text, a partial last one included: equal beginnings
/// have equal blocks.
std::vector<kvbm::BlockHash> blocks_of(std::string_view text, std::int32_t block_tokens);
/// The same with images between the text's tokens.
std::vector<kvbm::BlockHash> blocks_of(std::string_view text, policy::PromptImages images,
                                       std::int32_t block_tokens);

/// The blocks of a session whose prompt grows: each turn's begins with those of the one before.
class GrowingPrompt {
 public:
  /// `salt`: sessions of different salts share nothing beyond what they start with.
  GrowingPrompt(std::string_view salt, std::uint64_t session, std::int32_t block_tokens);
  /// Begins with blocks of its own choice, which are full.
  void start_with(std::span<const kvbm::BlockHash> blocks);
  /// The blocks of a prompt of so many tokens, a partial last one included. Valid until the next
  /// call.
  std::span<const kvbm::BlockHash> of(std::int64_t tokens);

 private:
  std::int32_t block_tokens_;
  kvbm::BlockHash salt_;
  std::vector<kvbm::BlockHash> blocks_;
};

}  // namespace dyn::sim
