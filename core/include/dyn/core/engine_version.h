#pragma once

#include <string_view>
#include <vector>

namespace dyn {

/// The leading numbers of a version such as 0.19.0 or 1.2.0rc0; empty where there are none. Newer
/// versions compare greater.
std::vector<int> version_numbers(std::string_view version);

/// Whether it begins with numbers between dots, of up to six digits each.
inline bool is_version(std::string_view text) {
  return !version_numbers(text).empty();
}

}  // namespace dyn
