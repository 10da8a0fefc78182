#include "prompt_blocks.h"

#include <algorithm>

namespace dyn::sim {

std::int64_t tokens_of(std::string_view text) {
  return std::max<std::int64_t>(
      1, (static_cast<std::int64_t>(text.size()) + kBytesPerToken - 1) / kBytesPerToken);
}

std::vector<kvbm::BlockHash> blocks_of(std::string_view text, std::int32_t block_tokens) {
  const auto bytes = static_cast<std::size_t>(block_tokens * kBytesPerToken);
  std::vector<kvbm::BlockHash> out;
  kvbm::BlockHash hash = kvbm::chain_root("text");
  do {
    const std::string_view part = text.substr(0, bytes);
    hash = kvbm::chain(hash, static_cast<std::uint64_t>(kvbm::chain_root(part)));
    out.push_back(hash);
    text.remove_prefix(part.size());
  } while (!text.empty());
  return out;
}

GrowingPrompt::GrowingPrompt(std::string_view salt, std::uint64_t session,
                             std::int32_t block_tokens)
    : block_tokens_(block_tokens), salt_(kvbm::chain(kvbm::chain_root(salt), session)) {}

void GrowingPrompt::start_with(std::span<const kvbm::BlockHash> blocks) {
  blocks_.assign(blocks.begin(), blocks.end());
}

std::span<const kvbm::BlockHash> GrowingPrompt::of(std::int64_t tokens) {
  const auto count = static_cast<std::size_t>((tokens + block_tokens_ - 1) / block_tokens_);
  while (blocks_.size() < count) {
    const kvbm::BlockHash parent = blocks_.empty() ? salt_ : blocks_.back();
    blocks_.push_back(
        kvbm::chain(kvbm::chain(parent, static_cast<std::uint64_t>(salt_)), blocks_.size()));
  }
  return std::span(blocks_).first(count);
}

}  // namespace dyn::sim
