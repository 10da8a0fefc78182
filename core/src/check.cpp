#include "dyn/core/check.h"

#include <cstdio>
#include <cstdlib>

namespace dyn::detail {

void check_failed(const char* condition, const char* why, const char* file, int line) {
  std::fprintf(stderr, "dyn: bug: %s (%s) at %s:%d\n", why, condition, file, line);
  std::abort();
}

}  // namespace dyn::detail
