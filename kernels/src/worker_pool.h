#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace dyn::kernels {

/// Threads that share out the pieces of one loop at a time.
class WorkerPool {
 public:
  /// `threads` in all, the caller's among them; at least 1.
  explicit WorkerPool(int threads);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int size() const { return static_cast<int>(threads_.size()) + 1; }

  /// Calls body(index, worker) once for every index in [0, count), worker being in [0, size()),
  /// and returns when all have returned. `body` must not throw. One call at a time.
  void run(std::int64_t count, const std::function<void(std::int64_t, int)>& body);

 private:
  void serve(int worker);
  void take_pieces(int worker);

  std::mutex mutex_;
  std::condition_variable start_;
  std::condition_variable done_;
  std::uint64_t generation_ = 0;
  int busy_ = 0;
  bool stop_ = false;
  const std::function<void(std::int64_t, int)>* body_ = nullptr;
  std::int64_t count_ = 0;
  std::atomic<std::int64_t> next_{0};
  std::vector<std::thread> threads_;
};

}  // namespace dyn::kernels
