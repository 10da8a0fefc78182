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
/// ended every slot starts anew.
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
  }

  /// The request has been sent.
  template <class Send>
  void sent(std::uint32_t request, Send&& send) {
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
    if (!closed_ || --left_of(request) > 0) {
      return;
    }
    --busy_slots_;
    if (request >= workload_.warmup || next_ < workload_.warmup) {
      start_session(now, send);
    } else if (busy_slots_ == 0) {
      fill_slots(now, send);
    }
  }

 private:
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
      send(awaited_, workload_.requests[awaited_].arrival);
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
      send(take_next(), now);
    }
  }

  template <class Send>
  void release_followers(std::uint32_t request, SimTime now, Send&& send) {
    for (std::uint32_t i = first_follow_up_[request]; i < first_follow_up_[request + 1]; ++i) {
      const FollowUp& follow = workload_.follow_ups[i];
      Wait& wait = waits_[follow.after];
      wait.ready = std::max(wait.ready, now + follow.delay);
      if (--wait.pending == 0) {
        const SimTime arrival = workload_.requests[follow.after].arrival;
        send(follow.after, closed_ ? wait.ready : std::max(wait.ready, arrival));
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
  std::vector<Wait> waits_;                     ///< by request; empty: none follows another
  std::vector<std::uint32_t> first_follow_up_;  ///< by request, into follow_ups; and their end
  std::vector<std::int32_t> left_;              ///< by session, closed loop with sessions
};

}  // namespace dyn::sim
