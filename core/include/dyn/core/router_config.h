#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "dyn/core/quantity.h"

namespace dyn {

enum class RouterKind {
  round_robin,
  random,
  power_of_two,
  least_loaded,
  session_affinity,
  kv_aware
};

/// What kv_aware weighs.
enum class RouterCost {
  blocks,   ///< blocks to compute and blocks held
  seconds,  ///< predicted time to the first token
};

/// How kv_aware knows what workers have cached.
enum class CacheView {
  events,       ///< from the engines' own cache events
  approximate,  ///< a guess from its own decisions
};

/// The order in which requests leave a router's queue.
enum class QueueOrder { first_come, priority, deadline };

/// How the requests of a pool are spread over its workers.
struct RouterConfig {
  RouterKind kind = RouterKind::kv_aware;
  RouterCost cost = RouterCost::blocks;
  double overlap_credit = 1.0;       ///< weight of cached blocks
  double host_credit = 0.0;          ///< of blocks in host memory; as the next two, 0 to 1
  double disk_credit = 0.0;          ///< of blocks on disk
  double object_credit = 0.0;        ///< of blocks in an object store
  double prefill_load_scale = 1.0;   ///< weight of prefill work against decode blocks
  double temperature = 0.0;          ///< 0: the best worker; above: softmax
  double adapter_affinity = 1.0;     ///< weight of a LoRA adapter that a worker does not hold
  int max_queued_per_worker = 1024;  ///< a full pool answers 429
  Duration affinity_ttl = std::chrono::minutes(10);  ///< since a session's last request

  CacheView cache_view = CacheView::events;
  Duration approximate_ttl = std::chrono::seconds(120);
  std::int64_t approximate_blocks = 100'000;  ///< per worker, least recently used forgotten
  Duration event_delay{0};                    ///< 0: events are known at once
  double event_loss = 0;                      ///< fraction of events that never arrive

  int replicas = 1;                    ///< routers in front of each pool
  std::optional<Duration> sync_delay;  ///< of what they tell each other; none: nothing

  /// Requests wait at the router while every worker has more prompts queued than this.
  std::optional<int> hold_above;
  QueueOrder queue_order = QueueOrder::first_come;
  std::int64_t queue_limit = 10'000;      ///< held requests; beyond, 429
  std::optional<Duration> queue_timeout;  ///< longest time held; beyond, 408

  /// Those of host memory, disk and object store.
  std::array<double, 3> tier_credits() const { return {host_credit, disk_credit, object_credit}; }
  /// Whether choices depend on what lies in tiers below the workers' devices.
  bool looks_below_devices() const {
    return kind == RouterKind::kv_aware && cache_view == CacheView::events &&
           (host_credit > 0 || disk_credit > 0 || object_credit > 0);
  }
  bool operator==(const RouterConfig&) const = default;
};

}  // namespace dyn
