#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dyn/core/faults.h"
#include "dyn/core/layout.h"
#include "dyn/core/quantity.h"

namespace dyn::sim {

/// The workers of a pool from an instant on.
struct ReplicaCount {
  SimTime at;
  std::uint32_t pool = 0;
  int ready = 0;
  int starting = 0;  ///< loading weights or warming up
  int draining = 0;  ///< take nothing new
  int down = 0;
};

struct PoolHistory {
  WorkerRole role = WorkerRole::aggregated;
  double gpu_hours = 0;  ///< of workers that start, serve, drain or restart
  int most_workers = 0;
  int growths = 0;            ///< decisions that added workers
  int shrinkings = 0;         ///< decisions that took some away
  int direction_changes = 0;  ///< growths after a shrinking and the other way round
};

/// What a fault did.
struct FaultImpact {
  FaultKind kind = FaultKind::worker_crash;
  WorkerRole role = WorkerRole::aggregated;
  bool encode = false;  ///< of the encode pool instead
  int worker = 0;
  SimTime at;
  SimTime until = SimTime::max();  ///< whole again; max: never in this run
  std::int64_t requests = 0;       ///< that were there when it struck
  std::int64_t migrated = 0;       ///< of them, started again elsewhere
  std::int64_t failed = 0;         ///< of them
  std::int64_t lost_tokens = 0;    ///< whose KV was computed in vain
  /// Requests/s that met every target, of those sent in the time that the fault lasted (to the
  /// end of the run at most, at least a second) and in as much time before it.
  double goodput_before = 0;
  double goodput_during = 0;
};

/// How a fleet fared besides its requests.
struct FleetHistory {
  std::vector<ReplicaCount> replicas;  ///< changes, in order of time
  std::vector<PoolHistory> pools;
  std::vector<FaultImpact> faults;    ///< in order of time
  std::int64_t migrations = 0;        ///< requests that moved to another worker
  std::int64_t retries = 0;           ///< attempts of clients after the first
  std::int64_t lost_tokens = 0;       ///< whose KV was computed in vain, for whatever reason
  std::int64_t cancellations = 0;     ///< requests whose client left
  std::int64_t abandoned_tokens = 0;  ///< whose KV was computed for them
  std::int64_t held = 0;              ///< requests that waited at a router
  std::int64_t local_prefills = 0;    ///< prompts that decode workers computed
};

/// One JSON document (schema dyn.fleet_history/1); equal histories give equal bytes.
std::string to_json(const FleetHistory& history);

}  // namespace dyn::sim
