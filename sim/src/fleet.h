#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "dyn/core/random.h"
#include "dyn/engine/deployed_network.h"
#include "dyn/engine/engine.h"
#include "dyn/policy/autoscaler.h"
#include "dyn/policy/router.h"
#include "dyn/policy/router_queue.h"
#include "dyn/sim/simulation.h"
#include "throttled_timer.h"

namespace dyn::sim {

/// One engine of the fleet: a worker, or one attention-DP rank of a worker.
struct EngineSlot {
  explicit EngineSlot(engine::Engine made) : engine(std::move(made)) {}

  engine::Engine engine;
  std::uint32_t pool = 0;                    ///< index into Fleet::pools
  std::uint32_t rank = 0;                    ///< index within its pool, as its router knows it
  std::uint16_t epoch = 0;                   ///< of the engine_due event that counts
  SimTime due = SimTime::max();              ///< when that event is due; max: there is none
  SimTime start = SimTime::min();            ///< of the latest engine_start event
  std::vector<RequestId> decoding;           ///< kept where the router follows output blocks
  std::int64_t steps_followed = 0;           ///< steps that the router knows of
  SimTime quiet_until = SimTime::max();      ///< before then the router has no more to learn of its
                                             ///< cache; kept where engines publish it
  SimTime followed_until = SimTime::min();   ///< the same for steps
  SimTime busy_since = SimTime::max();       ///< when it began the steps in progress; max: idle
  Duration busy{0};                          ///< of steps before
  SimTime step_told = SimTime::min();        ///< end of the last step that the sink was told of
  engine::SiteId site;                       ///< its GPUs in the network
  std::int64_t guests = 0;                   ///< legs of requests that are here
  policy::TieringOptions tiering;            ///< of its KV below the device
  std::uint16_t incarnation = 0;             ///< engines that were here before
  std::shared_ptr<ThrottledTimer> throttle;  ///< where nodes may be slow
  std::vector<RandomStream> losses;          ///< of cache events, by tier; empty: none is lost
  // Of engines that were here before and crashed.
  std::int64_t past_steps = 0;
  std::int64_t past_preemptions = 0;
  std::vector<GapCount> past_gaps;
  policy::AdapterUse past_adapters;
};

/// What a worker is doing.
enum class Life : std::uint8_t {
  absent,    ///< not there; costs nothing
  loading,   ///< its weights are on their way
  warming,   ///< kernels, graphs
  ready,     ///< takes requests
  draining,  ///< ends what it has
  down,      ///< crashed, and will be back
};

/// A worker of a pool: all of its ranks.
struct WorkerSlot {
  Life life = Life::ready;
  std::uint16_t epoch = 0;  ///< of the event that will change its life
  bool reclaimed = false;   ///< under notice, or taken: not paid for while it is down
  SimTime paid_since{};     ///< where it costs something
  std::vector<engine::TransferId> loads;
  std::optional<std::uint32_t> impact;  ///< the fault that it is down for
};

/// Whether it is paid for.
inline bool costs(const WorkerSlot& worker) {
  return worker.life != Life::absent && !(worker.life == Life::down && worker.reclaimed);
}

/// Something that one router tells the others of its pool.
struct RouterMail {
  enum class Kind : std::uint8_t { booked, prefill_done, finished };
  SimTime at;
  Kind kind = Kind::booked;
  std::uint8_t from = 0;
  WorkerId worker;
  policy::RouteRequest request;
};

/// The engines of one role, and the routers before them.
struct Pool {
  explicit Pool(policy::RouterQueue held) : queue(std::move(held)) {}

  WorkerRole role = WorkerRole::aggregated;
  std::uint32_t first_engine = 0;
  std::uint32_t engines = 1;
  std::uint32_t ranks_per_worker = 1;
  int block_size = 16;
  bool follows_output = false;  ///< the router's choice depends on output blocks
  bool publishes_kv = false;    ///< a choice depends on what engines have cached
  policy::RouterOptions router_options;
  std::vector<policy::Router> routers;
  std::uint64_t restarts = 0;  ///< of them
  engine::EngineOptions engine_options;
  std::shared_ptr<const perf::StepTimer> timer;
  int gpus_per_worker = 1;
  std::vector<WorkerSlot> workers;
  policy::RouterQueue queue;
  bool queue_due = false;  ///< an event that looks at the queue is pending
  std::list<RouterMail> mail;
  // Cache events on their way to the routers.
  struct Told {
    std::uint32_t engine;
    kvbm::KvEvent event;
  };
  std::vector<Told> fresh_events;
  std::vector<Told> sent_events;
  bool events_due = false;
  // Scaling.
  std::optional<policy::Autoscaler> autoscaler;
  Bytes weights;  ///< of one worker
  std::int64_t queued_tokens = 0;
  std::int64_t arrivals = 0;       ///< since the last decision, as are the next four
  std::int64_t prompt_tokens = 0;  ///< of these
  std::int64_t completed = 0;
  std::int64_t output_tokens = 0;  ///< of completed ones
  std::int64_t cached_tokens = 0;
  int last_direction = 0;  ///< of the last decision that changed something

  std::uint32_t worker_of(std::uint32_t rank) const { return rank / ranks_per_worker; }
  int count(Life life) const;
};

/// What a plan deploys, as state machines.
struct Fleet {
  std::vector<Pool> pools;
  std::vector<EngineSlot> engines;

  std::uint32_t worker_of(const EngineSlot& slot) const {
    return pools[slot.pool].worker_of(slot.rank);
  }
};

/// Asserts what a parsed plan guarantees: resolved configs, one aggregated pool or one prefill and
/// one decode pool, one timer per pool. Workers that an autoscaler may add are there, absent.
Fleet make_fleet(const SimulationSpec& spec);

/// Puts new routers before a pool, which know nothing of its caches.
void make_routers(Pool& pool, int replicas);

/// The network of a fleet's plan; says where each engine is in it.
engine::DeployedNetwork make_network(const SimulationSpec& spec, Fleet& fleet);

/// The autoscaler of a pool whose new workers take so long to get their weights.
policy::Autoscaler make_autoscaler(const Plan& plan, const Pool& pool, Duration weights);

/// A new engine for a slot, with nothing in it. Ranks of one worker step together, and the first
/// one's is made first.
engine::Engine make_engine(Fleet& fleet, std::uint32_t engine);

/// Throws Error(bad_input) where the workload's blocks cannot be cut into the engines', and
/// Error(infeasible) naming the first requests that an engine of the fleet could never run.
void check_feasible(const Fleet& fleet, const Workload& workload);

/// The request as an engine of `pool` sees it: a prefill engine makes one token of it at most.
engine::EngineRequest engine_request(const Pool& pool, const Workload& workload,
                                     std::uint32_t request);

}  // namespace dyn::sim
