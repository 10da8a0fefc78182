#pragma once

#include <rapidcheck.h>

#include "dyn/perf/cache_groups.h"

namespace dyn::test {

/// Groups of layers beside the one that keeps the whole context: none, sliding or linear ones.
inline perf::CacheGroups random_groups() {
  perf::CacheGroups groups;
  const int kind = *rc::gen::inRange(0, 3);
  if (kind == 1) {
    groups.sliding = *rc::gen::inRange(1, 4);
    groups.window = *rc::gen::inRange<std::int64_t>(2, 40);
  } else if (kind == 2) {
    groups.linear = *rc::gen::inRange(1, 4);
    groups.state_blocks = *rc::gen::inRange<std::int64_t>(1, 4);
  }
  return groups;
}

}  // namespace dyn::test
