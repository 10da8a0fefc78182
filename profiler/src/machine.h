#pragma once

#include <string>

#include "dyn/core/quantity.h"

namespace dyn::profiler {

/// What the operating system says about this machine.
struct Machine {
  std::string host;
  std::string processor;  ///< such as AMD EPYC 7B13
  int threads = 1;        ///< processors this process may run on
  Bytes memory{0};
  Bytes last_level_cache{0};  ///< 0: unknown
};

Machine this_machine();

}  // namespace dyn::profiler
