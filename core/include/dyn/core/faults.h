#pragma once

#include <optional>
#include <vector>

#include "dyn/core/layout.h"
#include "dyn/core/quantity.h"

namespace dyn {

enum class FaultKind {
  worker_crash,    ///< a worker and all that it holds is gone, and it starts again
  spot_reclaim,    ///< the same after a notice, during which the worker takes nothing new
  slow_node,       ///< the steps of a worker take longer
  link_down,       ///< nothing crosses a worker's network ports
  link_degraded,   ///< they have a fraction of their rate
  kv_loss,         ///< a worker's KV is gone; it computes what it runs again
  router_restart,  ///< a pool's routers forget what they know
};

/// One fault. What is not given is drawn (which worker) or the kind's own.
struct FaultEvent {
  FaultKind kind = FaultKind::worker_crash;
  Duration at{0};
  std::optional<WorkerRole> role;              ///< default the first pool
  bool encode = false;                         ///< a worker of the encode pool instead
  int worker = 0;                              ///< index within the pool
  std::optional<Duration> duration;            ///< until it is whole again
  double factor = 0.5;                         ///< slow_node: speed left; link_degraded: rate left
  Duration notice = std::chrono::seconds(30);  ///< spot_reclaim
};

/// Whether such a fault can befall an encode worker, which has neither KV nor routers.
inline bool befalls_encoders(FaultKind kind) {
  return kind != FaultKind::kv_loss && kind != FaultKind::router_restart;
}

/// Faults of a kind that come at random, exponentially apart, to workers drawn evenly.
struct FaultRate {
  FaultKind kind = FaultKind::worker_crash;
  Duration mean_between{0};          ///< over the whole fleet
  std::optional<Duration> duration;  ///< mean, exponential
  double factor = 0.5;
  Duration notice = std::chrono::seconds(30);
};

/// What a client does when its request fails.
struct RetrySpec {
  int attempts = 1;                                   ///< in all; 1: it gives up
  Duration backoff = std::chrono::milliseconds(500);  ///< before the second attempt
  double multiplier = 2;                              ///< of each further wait
  double jitter = 0.5;                                ///< up to this share is added, drawn
  /// Without a first token for so long it gives the attempt up, which counts as failed.
  std::optional<Duration> timeout;
};

/// What goes wrong during a run, and what is done about it.
struct FaultSpec {
  std::vector<FaultEvent> schedule;
  std::vector<FaultRate> rates;
  /// Requests of a lost worker start again elsewhere, from their prompt and the tokens made.
  bool migration = true;
  int migration_limit = 3;  ///< times for one request; beyond it fails
  RetrySpec retry;

  bool empty() const {
    return schedule.empty() && rates.empty() && retry.attempts == 1 && !retry.timeout;
  }
};

}  // namespace dyn
