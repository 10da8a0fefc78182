#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "dyn/core/quantity.h"
#include "net.h"

namespace dyn::serve {

/// Coroutines that end together: the only way this room spawns one. `stop` asks each to end; the
/// io_context runs out of work when all have. Thread-safe.
class TaskGroup : public std::enable_shared_from_this<TaskGroup> {
 public:
  /// Runs `task` on `executor`. `stop` is called at most once, from any thread, to make it end
  /// soon; it must not hold the group's owner alive. A group that was stopped stops at once.
  void spawn(net::any_io_executor executor, net::awaitable<void> task, std::function<void()> stop);
  void stop();

 private:
  void ended(std::uint64_t id);

  mutable std::mutex mutex_;
  bool stopped_ = false;
  std::uint64_t next_ = 0;
  std::map<std::uint64_t, std::function<void()>> tasks_;
};

/// Lets a coroutine on one strand wait for something that other handlers of the strand do.
class Wake {
 public:
  explicit Wake(const net::any_io_executor& strand);
  /// Ends the wait, or the next one if none is under way.
  void notify();
  net::awaitable<void> wait();

 private:
  net::steady_timer timer_;
  bool notified_ = false;
};

/// A time limit on the operations of a strand: calls `expire` unless disarmed before. Timers that
/// fire late never hit a later operation. The owner must outlive it by sharing itself in `expire`.
class Deadline {
 public:
  explicit Deadline(const net::any_io_executor& strand) : timer_(strand) {}
  void arm(Duration limit, std::function<void()> expire);
  /// Whether it had expired.
  bool disarm();
  void cancel();

 private:
  net::steady_timer timer_;
  std::shared_ptr<bool> armed_;
  bool expired_ = false;
};

}  // namespace dyn::serve
