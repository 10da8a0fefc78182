#include "task_group.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <utility>

#include "dyn/core/log.h"

namespace dyn::serve {

void TaskGroup::spawn(net::any_io_executor executor, net::awaitable<void> task,
                      std::function<void()> stop) {
  std::uint64_t id = 0;
  bool stop_now = false;
  {
    const std::scoped_lock lock(mutex_);
    id = next_++;
    stop_now = stopped_;
    tasks_.emplace(id, stop_now ? nullptr : stop);
  }
  net::co_spawn(executor, std::move(task),
                [group = shared_from_this(), id](const std::exception_ptr& error) {
                  if (error) {
                    try {
                      std::rethrow_exception(error);
                    } catch (const std::exception& e) {
                      log(LogLevel::error, "serve", "a task failed", {{"what", e.what()}});
                    }
                  }
                  group->ended(id);
                });
  if (stop_now) {
    stop();
  }
}

void TaskGroup::stop() {
  std::map<std::uint64_t, std::function<void()>> tasks;
  {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
    for (auto& [id, stop] : tasks_) {
      tasks.emplace(id, std::exchange(stop, nullptr));
    }
  }
  for (auto& [id, stop] : tasks) {
    if (stop) {
      stop();
    }
  }
}

void TaskGroup::ended(std::uint64_t id) {
  std::function<void()> stop;  // destroyed outside the lock
  const std::scoped_lock lock(mutex_);
  const auto it = tasks_.find(id);
  stop = std::move(it->second);
  tasks_.erase(it);
}

Wake::Wake(const net::any_io_executor& strand) : timer_(strand) {}

void Wake::notify() {
  notified_ = true;
  timer_.cancel();
}

net::awaitable<void> Wake::wait() {
  while (!notified_) {
    timer_.expires_at(net::steady_timer::time_point::max());
    boost::system::error_code ignored;
    co_await timer_.async_wait(net::redirect_error(net::use_awaitable, ignored));
  }
  notified_ = false;
}

void Deadline::arm(Duration limit, std::function<void()> expire) {
  cancel();
  expired_ = false;
  armed_ = std::make_shared<bool>(true);
  timer_.expires_after(limit);
  timer_.async_wait(
      [this, armed = armed_, expire = std::move(expire)](boost::system::error_code ec) {
        if (!ec && *armed) {
          *armed = false;
          expired_ = true;  // `this` lives: whoever armed it disarms before it goes
          expire();
        }
      });
}

bool Deadline::disarm() {
  cancel();
  return expired_;
}

void Deadline::cancel() {
  if (armed_) {
    *armed_ = false;
    armed_.reset();
  }
  timer_.cancel();
}

}  // namespace dyn::serve
