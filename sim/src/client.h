#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "dyn/core/check.h"
#include "dyn/sim/workload.h"

namespace dyn::sim {

/// The client of a simulation: says which request is sent when. `Send` is called as
/// send(request, at), with `at` now or later; each request is sent once.
///
/// Open loop: a request that follows no other comes at its arrival, one that does when all it waits
/// for have ended and it was thought about. Closed loop: each of the slots plays a session (of one
/// request, where they have no follow-ups) from its first request to its last and then the next
/// one, in the order of the list. Warm-up requests have the slots to themselves; when they have all
/// ended every slot starts anew. Where the workload has a `max_idle`, what is due later than that
/// when nothing is in flight comes earlier, and with it all that comes after; it is then sent anew.
class Client {
 public:
  explicit Client(const Workload& workload);

  template <class Send>
  void start(SimTime now, Send&& send) {
    if (!closed_) {
      send_next_arrival(send);
    } else {
      fill_slots(now, send);
    }
    cut_idle(now, send);
  }

  /// When the request is due, if it is to be sent yet, as far as `max_idle` has moved it.
  bool is_due(std::uint32_t request, SimTime at) const {
    return !workload_.max_idle ||
           std::find(due_.begin(), due_.end(), Due{request, at}) != due_.end();
  }

  /// The request has been sent.
  template <class Send>
  void sent(std::uint32_t request, Send&& send) {
    if (workload_.max_idle) {
      std::erase_if(due_, [request](const Due& due) { return due.request == request; });
      ++in_flight_;
    }
    if (!closed_ && request == awaited_) {
      send_next_arrival(send);
    }
  }

  /// The request is over, whatever became of it.
  template <class Send>
  void ended(std::uint32_t request, SimTime now, Send&& send) {
    if (!waits_.empty()) {
      release_followers(request, now, send);
    }
    if (closed_ && --left_of(request) == 0) {
      --busy_slots_;
      if (request >= workload_.warmup || next_ < workload_.warmup) {
        start_session(now, send);
      } else if (busy_slots_ == 0) {
        fill_slots(now, send);
      }
    }
    if (workload_.max_idle) {
      --in_flight_;
      cut_idle(now, send);
    }
  }

 private:
  struct Due {
    std::uint32_t request = 0;
    SimTime at{};
    bool operator==(const Due&) const = default;
  };

  template <class Send>
  void later(std::uint32_t request, SimTime at, Send&& send) {
    if (workload_.max_idle) {
      due_.push_back({request, at});
    }
    send(request, at);
  }

  /// Shortens the time until the next request is due, where none is in flight.
  template <class Send>
  void cut_idle(SimTime now, Send&& send) {
    if (!workload_.max_idle || in_flight_ > 0 || due_.empty()) {
      return;
    }
    const auto first = std::min_element(due_.begin(), due_.end(),
                                        [](const Due& a, const Due& b) { return a.at < b.at; });
    const Duration over = first->at - now - *workload_.max_idle;
    if (over <= Duration{0}) {
      return;
    }
    cut_ += over;
    for (Due& due : due_) {
      due.at -= over;
      send(due.request, due.at);
    }
  }

  /// When a request comes by the trace's clock.
  SimTime arrival_of(std::uint32_t request) const {
    return workload_.requests[request].arrival - cut_;
  }

  std::uint32_t count() const { return static_cast<std::uint32_t>(workload_.requests.size()); }
  bool follows(std::uint32_t request) const { return !waits_.empty() && waits_[request].initial; }
  /// The first request of the next session; steps over those that follow others.
  std::uint32_t take_next() {
    const std::uint32_t taken = next_;
    do {
      ++next_;
    } while (next_ < count() && follows(next_));
    return taken;
  }

  template <class Send>
  void send_next_arrival(Send&& send) {
    if (next_ < count()) {
      awaited_ = take_next();
      later(awaited_, arrival_of(awaited_), send);
    }
  }

  /// Every slot that is free starts a session, of the warm-up while there is one.
  template <class Send>
  void fill_slots(SimTime now, Send&& send) {
    const std::uint32_t end = next_ < workload_.warmup ? workload_.warmup : count();
    while (busy_slots_ < workload_.concurrency && next_ < end) {
      start_session(now, send);
    }
  }

  template <class Send>
  void start_session(SimTime now, Send&& send) {
    if (next_ < count()) {
      ++busy_slots_;
      DYN_ASSERT(busy_slots_ <= workload_.concurrency, "a slot plays one session at a time");
      later(take_next(), now, send);
    }
  }

  template <class Send>
  void release_followers(std::uint32_t request, SimTime now, Send&& send) {
    for (std::uint32_t i = first_follow_up_[request]; i < first_follow_up_[request + 1]; ++i) {
      const FollowUp& follow = workload_.follow_ups[i];
      Wait& wait = waits_[follow.after];
      wait.ready = std::max(wait.ready, now + follow.delay);
      if (--wait.pending == 0) {
        const SimTime at = closed_ ? wait.ready : std::max(wait.ready, arrival_of(follow.after));
        later(follow.after, at, send);
      }
    }
  }

  /// Requests of the session that are not over; of a session of one, a dummy that becomes 0.
  std::int32_t& left_of(std::uint32_t request) {
    return left_.empty() ? (alone_ = 1) : left_[workload_.session_of(request)];
  }

  struct Wait {
    SimTime ready{};
    std::uint32_t pending = 0;  ///< requests that it waits for
    bool initial = false;       ///< it follows another
  };
  const Workload& workload_;
  bool closed_;
  std::uint32_t next_ = 0;  ///< the next session's first request
  std::uint32_t awaited_ = 0;
  std::int32_t busy_slots_ = 0;
  std::int32_t alone_ = 1;
  // Where idle times have a limit:
  std::vector<Due> due_;                        ///< handed to `send`, and not yet sent
  std::uint32_t in_flight_ = 0;                 ///< sent, and not over
  Duration cut_{0};                             ///< off the trace's clock
  std::vector<Wait> waits_;                     ///< by request; empty: none follows another
  std::vector<std::uint32_t> first_follow_up_;  ///< by request, into follow_ups; and their end
  std::vector<std::int32_t> left_;              ///< by session, closed loop with sessions
};

}  // namespace dyn::sim
