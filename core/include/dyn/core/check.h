#pragma once

namespace dyn::detail {
[[noreturn]] void check_failed(const char* condition, const char* why, const char* file, int line);
}

/// States what must hold unless dyn itself has a bug; never reachable from bad input. Prints the
/// reason and aborts. Checked in every build.
#define DYN_ASSERT(condition, why)                                      \
  do {                                                                  \
    if (!(condition)) [[unlikely]] {                                    \
      ::dyn::detail::check_failed(#condition, why, __FILE__, __LINE__); \
    }                                                                   \
  } while (false)
