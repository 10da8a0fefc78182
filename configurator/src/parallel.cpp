#include "parallel.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace dyn::configurator {

void parallel_for(std::size_t count, int threads, const std::function<void(std::size_t)>& body,
                  const std::function<void(std::size_t)>& tick,
                  const std::atomic<bool>* cancelled) {
  const auto wanted =
      static_cast<std::size_t>(threads > 0 ? static_cast<unsigned>(threads)
                                           : std::max(1U, std::thread::hardware_concurrency()));
  const std::size_t workers = std::min(wanted, count);
  std::atomic<std::size_t> next{0};
  std::vector<std::exception_ptr> errors(count);
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t done = 0;
  std::size_t running = workers;

  const auto work = [&] {
    while (cancelled == nullptr || !cancelled->load(std::memory_order_relaxed)) {
      const std::size_t i = next.fetch_add(1);
      if (i >= count) {
        break;
      }
      try {
        body(i);
      } catch (...) {
        errors[i] = std::current_exception();
      }
      const std::lock_guard lock(mutex);
      ++done;
      changed.notify_one();
    }
    const std::lock_guard lock(mutex);
    --running;
    changed.notify_one();
  };
  {
    std::vector<std::jthread> pool;
    for (std::size_t i = 0; i < workers; ++i) {
      pool.emplace_back(work);
    }
    std::unique_lock lock(mutex);
    while (running > 0) {
      changed.wait_for(lock, std::chrono::milliseconds(100));
      const std::size_t finished = done;
      lock.unlock();
      if (tick) {
        tick(finished);
      }
      lock.lock();
    }
  }
  if (tick) {
    tick(done);  // the last may have finished since
  }
  for (const std::exception_ptr& error : errors) {
    if (error) {
      std::rethrow_exception(error);
    }
  }
}

}  // namespace dyn::configurator
