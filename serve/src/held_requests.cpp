#include "held_requests.h"

#include <utility>

namespace dyn::serve {

bool HeldRequests::push(const policy::HeldRequest& request, Turn turn) {
  if (!queue_.push(request)) {
    return false;
  }
  turns_[request.id.value()] = std::move(turn);
  return true;
}

bool HeldRequests::remove(RequestId id) {
  turns_.erase(id.value());
  return queue_.remove(id);
}

HeldRequests::Turn HeldRequests::room() {
  room_since_ = looking_;
  return looking_ ? Turn() : next();
}

HeldRequests::Turn HeldRequests::looked(bool found_room) {
  looking_ = false;
  const bool room_since = std::exchange(room_since_, false);
  return found_room || room_since ? next() : Turn();
}

HeldRequests::Turn HeldRequests::next() {
  const auto front = queue_.front();
  if (!front) {
    return {};
  }
  queue_.pop();
  looking_ = true;
  auto node = turns_.extract(front->value());
  return std::move(node.mapped());
}

}  // namespace dyn::serve
