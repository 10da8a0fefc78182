#include "dyn/policy/router_queue.h"

#include "dyn/core/check.h"

namespace dyn::policy {

HeldRequest held_request(RequestId id, SimTime since, int priority, const Slo& slo) {
  HeldRequest held{id, since, priority};
  for (const Slo::Target& target : slo.targets()) {
    if (target.metric == "time_to_first_token") {
      held.deadline = since + target.limit;
      break;
    }
  }
  return held;
}

bool RouterQueue::push(const HeldRequest& request) {
  if (order_of_.size() >= limit_) {
    return false;
  }
  std::int64_t urgency = 0;
  switch (order_) {
    case QueueOrder::first_come:
      break;
    case QueueOrder::priority:
      urgency = -static_cast<std::int64_t>(request.priority);
      break;
    case QueueOrder::deadline:
      urgency = request.deadline.time_since_epoch().count();
      break;
  }
  const Key key{urgency, request.since, request.id.value()};
  DYN_ASSERT(order_of_.emplace(request.id.value(), key).second, "a request waits once");
  waiting_.insert(key);
  return true;
}

std::optional<RequestId> RouterQueue::front() const {
  return waiting_.empty() ? std::nullopt : std::optional(RequestId(std::get<2>(*waiting_.begin())));
}

void RouterQueue::pop() {
  DYN_ASSERT(!waiting_.empty(), "pops an empty queue");
  order_of_.erase(std::get<2>(*waiting_.begin()));
  waiting_.erase(waiting_.begin());
}

bool RouterQueue::remove(RequestId id) {
  const auto found = order_of_.find(id.value());
  if (found == order_of_.end()) {
    return false;
  }
  waiting_.erase(found->second);
  order_of_.erase(found);
  return true;
}

}  // namespace dyn::policy
