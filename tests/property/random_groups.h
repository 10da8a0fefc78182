#pragma once

#include <rapidcheck.h>

#include "dyn/perf/cache_groups.h"

namespace dyn::test {

/// Pools of their own, as SGLang has them.
inline perf::CacheGroups random_pools() {
  perf::CacheGroups pools;
  pools.window = *rc::gen::inRange<std::int64_t>(2, 40);
  pools.window_pool = *rc::gen::inRange<std::int64_t>(1, 30);
  pools.most_states = *rc::gen::inRange(0, 5);
  return pools;
}

/// Groups of layers beside the one that keeps the whole context: none, sliding or linear ones, or
/// pools of their own; or sliding ones alone.
inline perf::CacheGroups random_groups() {
  perf::CacheGroups groups;
  const int kind = *rc::gen::element(0, 1, 2, 3, 4);
  if (kind == 1) {
    groups.sliding = *rc::gen::inRange(1, 4);
    groups.window = *rc::gen::inRange<std::int64_t>(2, 40);
  } else if (kind == 2) {
    groups.linear = *rc::gen::inRange(1, 4);
    groups.state_blocks = *rc::gen::inRange<std::int64_t>(1, 4);
  } else if (kind == 4) {
    groups.whole = 0;
    groups.sliding = 1;
    groups.window = *rc::gen::inRange<std::int64_t>(2, 40);
  } else if (kind == 3) {
    groups = random_pools();
  }
  return groups;
}

}  // namespace dyn::test
