#include "dyn/core/engine_version.h"

#include <charconv>
#include <system_error>

namespace dyn {

std::vector<int> version_numbers(std::string_view version) {
  constexpr std::size_t kMostDigits = 6;
  std::vector<int> numbers;
  const char* at = version.data();
  const char* const end = at + version.size();
  while (at < end) {
    int number = 0;
    const auto [stop, error] = std::from_chars(at, end, number);
    if (error != std::errc() || *at == '-' || static_cast<std::size_t>(stop - at) > kMostDigits) {
      break;
    }
    numbers.push_back(number);
    if (stop == end || *stop != '.') {
      break;
    }
    at = stop + 1;
  }
  return numbers;
}

}  // namespace dyn
