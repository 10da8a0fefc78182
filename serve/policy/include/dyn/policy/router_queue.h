#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "dyn/core/id.h"
#include "dyn/core/quantity.h"
#include "dyn/core/router_config.h"
#include "dyn/core/slo.h"

namespace dyn::policy {

/// A request that waits at a router.
struct HeldRequest {
  RequestId id;
  SimTime since;                      ///< when it came: earlier first among equals
  int priority = 0;                   ///< higher first (QueueOrder::priority)
  SimTime deadline = SimTime::max();  ///< earlier first (QueueOrder::deadline)
};

/// Of a request that came at `since`; its first token is due by the SLO's first target for TTFT.
HeldRequest held_request(RequestId id, SimTime since, int priority, const Slo& slo);

/// The requests that a router holds back while every worker is busy, in the order in which they
/// are to be routed. Bounded. Pure; O(log n) a call. Not thread-safe.
class RouterQueue {
 public:
  RouterQueue(QueueOrder order, std::size_t limit) : order_(order), limit_(limit) {}

  /// False, and nothing happens, if the queue is full. Asserts that the id is not held.
  bool push(const HeldRequest& request);
  std::optional<RequestId> front() const;
  void pop();
  /// Unknown ids are ignored; true if it was held.
  bool remove(RequestId id);
  std::size_t size() const { return order_of_.size(); }
  bool empty() const { return order_of_.empty(); }

 private:
  using Key = std::tuple<std::int64_t, SimTime, std::uint32_t>;  ///< urgency, since, id
  QueueOrder order_;
  std::size_t limit_;
  std::set<Key> waiting_;
  std::map<std::uint32_t, Key> order_of_;
};

}  // namespace dyn::policy
