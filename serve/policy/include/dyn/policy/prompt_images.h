#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "dyn/core/encoding.h"

namespace dyn::policy {

/// Which picture it is. Equal ones have equal embeddings.
using ImageId = std::uint64_t;

/// A picture in a prompt.
struct PromptImage {
  ImageId id = 0;
  std::int64_t start = 0;  ///< tokens of the prompt before it
  ImageSize size;

  std::int64_t end() const { return start + size.tokens; }
  /// Whether it has a token in [from, to).
  bool within(std::int64_t from, std::int64_t to) const {
    return std::max(from, start) < std::min(to, end());
  }
  /// Whether its first token is there.
  bool begins_within(std::int64_t from, std::int64_t to) const {
    return from <= start && start < to;
  }
  bool operator==(const PromptImage&) const = default;
};

/// Those of a prompt, in order; none overlaps another. A view: what it points to must outlive it.
/// An engine encodes those that it has not got cached KV for in the step that computes their first
/// token, as vLLM does.
using PromptImages = std::span<const PromptImage>;

/// Tokens of all of them together.
inline std::int64_t image_tokens(PromptImages images) {
  std::int64_t tokens = 0;
  for (const PromptImage& image : images) {
    tokens += image.size.tokens;
  }
  return tokens;
}

}  // namespace dyn::policy
