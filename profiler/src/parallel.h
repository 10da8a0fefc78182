#pragma once

#include <functional>
#include <thread>
#include <vector>

namespace dyn::profiler {

/// body(i) for i in [0, threads), each on a thread of its own. `body` must not throw.
inline void in_parallel(int threads, const std::function<void(int)>& body) {
  std::vector<std::jthread> others;
  for (int i = 1; i < threads; ++i) {
    others.emplace_back([&body, i] { body(i); });
  }
  body(0);
}

}  // namespace dyn::profiler
