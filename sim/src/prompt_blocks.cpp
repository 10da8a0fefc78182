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

namespace {

/// The contents of a prompt with images, as numbers, in order.
class MixedPrompt {
 public:
  MixedPrompt(std::string_view text, policy::PromptImages images) : text_(text), images_(images) {}

  /// What the tokens [from, to) are; calls go forward, without gaps.
  std::uint64_t content(std::int64_t from, std::int64_t to) {
    if (next_ == images_.size() || images_[next_].start >= to) {
      return text(from, to);
    }
    kvbm::BlockHash hash = kvbm::chain_root("image");
    while (from < to) {
      const bool has = next_ < images_.size() && images_[next_].start < to;
      const std::int64_t stop = has ? images_[next_].start : to;
      if (stop > from) {
        hash = kvbm::chain(hash, text(from, stop));
        from = stop;
      } else {
        const policy::PromptImage& image = images_[next_];
        hash = kvbm::chain(hash, image.id);
        from = std::min(image.end(), to);
        if (image.end() <= to) {
          before_ += image.size.tokens;
          ++next_;
        }
      }
    }
    return static_cast<std::uint64_t>(hash);
  }

 private:
  /// A stretch without an image.
  std::uint64_t text(std::int64_t from, std::int64_t to) const {
    const auto first = static_cast<std::size_t>((from - before_) * kBytesPerToken);
    const auto count = static_cast<std::size_t>((to - from) * kBytesPerToken);
    return static_cast<std::uint64_t>(kvbm::chain_root(text_.substr(first, count)));
  }

  std::string_view text_;
  policy::PromptImages images_;
  std::size_t next_ = 0;     ///< the first image that has not ended
  std::int64_t before_ = 0;  ///< tokens of those before it
};

}  // namespace

std::vector<kvbm::BlockHash> blocks_of(std::string_view text, policy::PromptImages images,
                                       std::int32_t block_tokens) {
  if (images.empty()) {
    return blocks_of(text, block_tokens);
  }
  const std::int64_t total = policy::image_tokens(images) + (text.empty() ? 0 : tokens_of(text));
  MixedPrompt prompt(text, images);
  std::vector<kvbm::BlockHash> out;
  kvbm::BlockHash hash = kvbm::chain_root("text");
  for (std::int64_t from = 0; from < total; from += block_tokens) {
    hash = kvbm::chain(hash, prompt.content(from, std::min(from + block_tokens, total)));
    out.push_back(hash);
  }
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
