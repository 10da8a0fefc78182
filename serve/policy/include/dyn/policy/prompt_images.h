#pragma once

#include <algorithm>
#include <cstdint>

#include "dyn/core/encoding.h"

namespace dyn::policy {

/// Images of one size in a prompt, one after the other. An engine encodes those that it has not got
/// cached KV for in the step that computes their first token, as vLLM does.
struct PromptImages {
  std::int64_t start = 0;  ///< tokens of the prompt before them
  std::int32_t count = 0;
  ImageSize each;

  std::int64_t tokens() const { return count * each.tokens; }
  std::int64_t end() const { return start + tokens(); }
  /// How many have a token in [from, to). Needs each.tokens > 0 if there are any.
  std::int64_t within(std::int64_t from, std::int64_t to) const {
    if (count == 0 || to <= std::max(from, start) || from >= end()) {
      return 0;
    }
    const std::int64_t first = std::max<std::int64_t>(from - start, 0) / each.tokens;
    const std::int64_t last = (std::min(to, end()) - start - 1) / each.tokens;
    return std::max<std::int64_t>(last - first + 1, 0);
  }
  /// How many begin in [from, to).
  std::int64_t begin_within(std::int64_t from, std::int64_t to) const {
    const auto before = [this](std::int64_t token) {  // how many begin before it
      const std::int64_t offset = std::clamp<std::int64_t>(token - start, 0, end() - start);
      return count == 0 ? 0 : (offset + each.tokens - 1) / each.tokens;
    };
    return before(to) - before(from);
  }
};

}  // namespace dyn::policy
