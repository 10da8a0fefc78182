#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "dyn/core/id.h"
#include "dyn/core/plan.h"
#include "dyn/core/quantity.h"
#include "dyn/core/report.h"
#include "dyn/perf/image_timer.h"
#include "dyn/perf/step_timer.h"
#include "dyn/policy/batch.h"
#include "dyn/policy/scheduler.h"

namespace dyn::engine {

using policy::Admission;
using policy::EngineRequest;
using policy::Outcome;
using policy::TokenEvent;

/// The engine at a glance, for routers and metrics.
struct EngineLoad {
  std::int32_t running = 0;
  std::int32_t waiting = 0;
  std::int64_t used_blocks = 0;    ///< referenced by a request
  std::int64_t cached_blocks = 0;  ///< free but still holding reusable KV
  std::int64_t total_blocks = 0;
  std::int64_t steps = 0;
  std::int64_t preemptions = 0;
};

/// What of it is in use.
struct EngineUse {
  std::int32_t running = 0;
  std::int32_t waiting = 0;
  std::int64_t used_blocks = 0;
  std::int64_t total_blocks = 0;
};

enum class Stepping {
  every_step,    ///< an outcome for every token: what a server streams
  fast_forward,  ///< runs of decode steps in which nothing can change are one event
};

/// Why a request cannot run here at all: prompt and output exceed max_model_len (or, where prompts
/// are not chunked, the token budget of a step), or their KV exceeds the whole cache.
enum class errc { prompt_exceeds_context = 1, prompt_exceeds_cache };

struct EngineOptions {
  EngineConfig config;  ///< kv_blocks and max_model_len set
  WorkerRole role = WorkerRole::aggregated;
  Stepping stepping = Stepping::fast_forward;
  bool publish_kv_events = false;
  policy::TieringOptions tiering{};  ///< the timer is the engine's own
  bool reserve_at_once = false;      ///< see policy::SchedulerOptions
  policy::AdapterLoadTimes adapter_load{};
  std::shared_ptr<const perf::ImageTimer> image_timer{};  ///< where requests have images
  perf::CacheGroups groups{};  ///< of the model's layers, by cache_groups()
};

/// Whether the engines of a pool take room for remote KV at once: those whose step times are
/// Dynamo's mocker's do, since it does; real ones when their next step begins.
inline bool reserves_at_once(const PoolSpec& pool) {
  return pool.role == WorkerRole::decode && pool.timing.kind == TimingKind::polynomial;
}

/// The groups that the engines of a pool keep KV of: one where tiers are below the device, whose
/// blocks vLLM's connectors move as one, and with the step times of Dynamo's mocker.
inline perf::CacheGroups cache_groups(const Plan& plan, const PoolSpec& pool) {
  if (pool.timing.kind == TimingKind::polynomial) {
    return {};
  }
  const perf::CacheGroups groups =
      perf::cache_groups(plan.model, plan.kv_cache, pool.layout.tensor, pool.config);
  return plan.kv_tiers.empty() ? groups : groups.unsplit();
}

/// Whether they keep the whole context in layers that could do with a window of it: blocks below
/// the device move as one, with the KV of all layers, so vLLM does not split them then.
inline bool keeps_windows(const Plan& plan, const PoolSpec& pool) {
  const bool split =
      perf::cache_groups(plan.model, plan.kv_cache, pool.layout.tensor, pool.config).sliding > 0;
  return perf::keeps_windows(plan.model, pool.config) || (split && !plan.kv_tiers.empty());
}

/// One engine (one scheduler, one block pool) as a state machine over time. It has no clock and
/// does no I/O: the driver says what time it is, calls `advance` when `next_event` is due, and
/// reads the outcome. `sim` steps it by events, a simulated worker of `serve` by a timer; equal
/// calls at equal times give equal outcomes. Fast-forward and every_step differ in how many
/// outcomes are reported, never in when anything happens. Not thread-safe.
///
/// Protocol: every call's `now` is >= that of the call before. After submit, cancel, kv_received,
/// release_held, transfer_done or give_up_transfers, call `advance(now, outcome)` once: an idle
/// engine starts a step then. Then wait until `next_event()` or the next call.
///
/// Every call first finishes the steps that ended at or before its `now` and starts those that
/// follow before it, whether or not the driver advanced before. The step that would start right at
/// `now` is started by `advance` alone, so that everything that arrives at that instant can join
/// it, in either stepping: where several things happen at one instant, a driver first settles all
/// engines and submits all requests, and advances then. What happens is handed out by the next
/// `settle` or `advance`. Calling these earlier than `next_event` is allowed and cheap; within a
/// run they hand out the KV events of the steps that ended by `now`, so that a router which must
/// see evictions in time settles the engines before it chooses. KV events become visible when the
/// step that caused them ends. Second tokens of a run may be reported as late as the run's end,
/// with their own `at`.
///
/// Which requests enter a step is decided by policy::Scheduler.
class Engine {
 public:
  Engine(const EngineOptions& options, std::shared_ptr<const perf::StepTimer> timer);
  /// A further attention-DP rank of the same worker: an engine with a scheduler and a cache of its
  /// own that steps together with this one. A step begins at all ranks and ends when the slowest is
  /// done; a rank without work waits. Calls to one rank bring all up to `now`, so all must be on
  /// one thread; what happened at the others waits there until their own settle() or advance(),
  /// which next_event() says is due.
  Engine another_rank(const EngineOptions& options);
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  /// Whether the request can run here at all, even alone.
  std::optional<errc> why_impossible(const EngineRequest& request) const;
  /// Queues a request; asserts that it is possible and its id not in use here.
  void submit(const EngineRequest& request, SimTime now);
  /// Removes a request: at once if it waits, else as soon as the step in progress ends, when its
  /// blocks are freed. Unknown ids are ignored.
  void cancel(RequestId id, SimTime now);
  /// Decode role: prompt tokens of a request in kv_wanted whose KV must be transferred, which are
  /// those not cached here; 0 once received, and for other requests.
  std::int64_t tokens_wanted(RequestId id) const;
  /// Decode role: the prompt's KV has arrived; the request may be scheduled. The step that it
  /// joins computes the last prompt token again and so makes the first output token.
  void kv_received(RequestId id, SimTime now);
  /// Prefill role: the transfer ended (or was given up); the held blocks are freed.
  void release_held(RequestId id, SimTime now);

  /// The timer's answers have changed: steps that begin after `now` take what it says by now.
  void retime(SimTime now);
  /// How far a request is at `now`.
  policy::Scheduler::Progress progress(RequestId id, SimTime now) const;
  /// A transfer between tiers, handed out in Outcome::tier_transfers, has ended. Ids of transfers
  /// that were given up (their request was cancelled) are ignored.
  void transfer_done(kvbm::TierTransferId id, SimTime now);
  /// Gives up all transfers between tiers; requests that waited for one compute instead.
  void give_up_transfers(SimTime now);
  const kvbm::Tiers* tiers() const;  ///< null: none

  /// What steps begun so far had of LoRA adapters.
  const policy::AdapterUse& adapter_use() const;

  /// Finishes every step that ends at or before `now`, without starting one at `now`.
  void settle(SimTime now, Outcome& outcome);
  /// The same, and starts the next step where there is work.
  void advance(SimTime now, Outcome& outcome);
  /// When the step (or run of steps) in progress ends, or the next is to start; none when idle.
  std::optional<SimTime> next_event() const;

  /// When the step in progress ends, which may be one of a run; none when idle. Before then, unless
  /// a call intervenes, the load stays the same.
  std::optional<SimTime> step_end() const;
  /// Before then, unless a call intervenes, `settle` has no KV event to hand out: the end of the
  /// step in progress, or a time not after now if events wait, which a look at this rank or at
  /// another of its worker brought out. The end of time when idle.
  SimTime quiet_until() const;

  /// The load at `now`, which may lie within a run of steps.
  EngineLoad load(SimTime now) const;
  /// What is in use at `now`, before which no step ends that next_event() does not tell of. Ends
  /// and begins no step: one that ends right at `now` is still in progress, in either stepping.
  EngineUse use(SimTime now) const;
  /// Gaps between neighbouring tokens of a request so far, as counts in order of size; for
  /// inter_chunk_latency. Rounded to 1 us, above 131 ms to 17 significant bits. Steps are counted
  /// when they are handed out: those of a run by the call that ends it.
  std::vector<GapCount> token_gaps() const;
  /// Asserts that no block is lost and no request forgotten; for tests and ends of runs.
  void check_invariants() const;

 private:
  struct Impl;
  struct Lockstep;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dyn::engine
