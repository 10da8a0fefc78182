#pragma once

#include <atomic>
#include <cstddef>
#include <functional>

namespace dyn::configurator {

/// Runs body(0) ... body(count - 1) on up to `threads` threads (0: one a core); the calling thread
/// waits and calls `tick(done)` now and then. Once `cancelled` is set no further index is begun.
/// Rethrows the exception of the lowest index that threw.
void parallel_for(std::size_t count, int threads, const std::function<void(std::size_t)>& body,
                  const std::function<void(std::size_t)>& tick, const std::atomic<bool>* cancelled);

}  // namespace dyn::configurator
