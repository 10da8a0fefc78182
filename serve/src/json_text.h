#pragma once

#include <string>
#include <string_view>

namespace dyn::serve {

/// `text` as a JSON string with its quotes. What is no valid UTF-8 becomes U+FFFD, so the result
/// is always valid JSON.
std::string json_quote(std::string_view text);

/// Where JSON text nests deeper than `max_depth` objects and arrays: the offset of the bracket,
/// or npos. Text that is no JSON gets an answer too; parsing rejects it later.
std::size_t find_too_deep(std::string_view json, int max_depth);

/// Line and column (both from 1, in bytes) of an offset.
struct TextPosition {
  std::size_t line = 1;
  std::size_t column = 1;
};
TextPosition position_of(std::string_view text, std::size_t offset);

}  // namespace dyn::serve
