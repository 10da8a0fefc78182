#pragma once

#include <cstdint>
#include <vector>

#include "dyn/engine/engine.h"
#include "dyn/policy/router.h"
#include "dyn/sim/simulation.h"

namespace dyn::sim {

/// One engine of the fleet: a worker, or one attention-DP rank of a worker.
struct EngineSlot {
  engine::Engine engine;
  std::uint32_t pool = 0;                   ///< index into Fleet::pools
  std::uint32_t rank = 0;                   ///< index within its pool, as its router knows it
  std::uint16_t epoch = 0;                  ///< of the engine_due event that counts
  SimTime due = SimTime::max();             ///< when that event is due; max: there is none
  SimTime start = SimTime::min();           ///< of the latest engine_start event
  std::vector<RequestId> decoding{};        ///< kept where the router follows output blocks
  std::int64_t steps_followed = 0;          ///< steps that the router knows of
  SimTime quiet_until = SimTime::max();     ///< before then the router has no more to learn of its
                                            ///< cache; kept where engines publish it
  SimTime followed_until = SimTime::min();  ///< the same for steps
  SimTime busy_since = SimTime::max();      ///< when it began the steps in progress; max: idle
  Duration busy{0};                         ///< of steps before
  SimTime step_told = SimTime::min();       ///< end of the last step that the sink was told of
};

/// The engines of one role, and the router before them.
struct Pool {
  WorkerRole role = WorkerRole::aggregated;
  std::uint32_t first_engine = 0;
  std::uint32_t engines = 1;
  std::uint32_t ranks_per_worker = 1;
  int block_size = 16;
  bool follows_output = false;  ///< the router's choice depends on output blocks
  bool publishes_kv = false;    ///< the router's choice depends on what engines have cached
  policy::Router router;
};

/// What a plan deploys, as state machines.
struct Fleet {
  std::vector<Pool> pools;
  std::vector<EngineSlot> engines;

  Pool* pool(WorkerRole role);
  std::uint32_t worker_of(const EngineSlot& slot) const {
    return slot.rank / pools[slot.pool].ranks_per_worker;
  }
};

/// Asserts what a parsed plan guarantees: resolved configs, one aggregated pool or one prefill and
/// one decode pool, one timer per pool.
Fleet make_fleet(const SimulationSpec& spec);

/// Throws Error(bad_input) where the workload's blocks cannot be cut into the engines', and
/// Error(infeasible) naming the first requests that an engine of the fleet could never run.
void check_feasible(const Fleet& fleet, const Workload& workload);

/// The request as an engine of `pool` sees it: a prefill engine makes one token of it at most.
engine::EngineRequest engine_request(const Pool& pool, const Workload& workload,
                                     std::uint32_t request);

}  // namespace dyn::sim
