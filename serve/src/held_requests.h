#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>

#include "dyn/policy/router_queue.h"

namespace dyn::serve {

/// The requests that a pool's router holds back, with what is called when it is a request's turn
/// to look for room. One looks at a time, so that they are placed in the queue's order: who is
/// called leaves the queue, tries, comes back with `push` if there was no room, and says `looked`
/// in any case. Not thread-safe; what is returned is to be called outside of any lock, and may be
/// empty.
class HeldRequests {
 public:
  using Turn = std::function<void()>;

  HeldRequests(QueueOrder order, std::size_t limit) : queue_(order, limit) {}

  /// False, and nothing happens, if the queue is full.
  bool push(const policy::HeldRequest& request, Turn turn);
  /// The request no longer waits; false if it did not, or if it is its turn.
  bool remove(RequestId id);
  /// There may be room: who is to look.
  Turn room();
  /// Who looked was placed, or gave up, or found no room: who is next.
  Turn looked(bool found_room);
  std::size_t size() const { return queue_.size(); }

 private:
  Turn next();

  policy::RouterQueue queue_;
  std::map<std::uint32_t, Turn> turns_;  ///< by request
  bool looking_ = false;
  bool room_since_ = false;  ///< there may be more room than the one who looks has seen
};

}  // namespace dyn::serve
