#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dyn/core/node.h"

namespace dyn::detail {

/// The whole number from `low` to `high` that a field of a config.json has; `fallback`, and a
/// problem, where it has another value.
inline std::int64_t whole_number(const Node& node, std::string_view key, std::int64_t low,
                                 std::int64_t high, std::int64_t fallback, Problems& problems) {
  const std::optional<std::int64_t> value = node.as_int();
  if (!value || *value < low || *value > high) {
    problems.add(node, "expected '" + std::string(key) + "' to be a whole number from " +
                           std::to_string(low) + " to " + std::to_string(high) + ", got " +
                           node.quote());
    return fallback;
  }
  return *value;
}

}  // namespace dyn::detail
