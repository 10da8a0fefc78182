#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "dyn/core/id.h"
#include "dyn/core/plan.h"
#include "dyn/core/quantity.h"
#include "dyn/core/report.h"
#include "dyn/kvbm/block_hash.h"
#include "dyn/perf/step_timer.h"

namespace dyn::engine {

/// A request as one engine sees it.
struct EngineRequest {
  RequestId id;
  std::int64_t prompt_tokens = 0;  ///< >= 1
  std::int64_t max_output_tokens = 1;  ///< >= 1; exactly so many are made unless cancelled before
  kvbm::PromptBlocks blocks;  ///< full prompt blocks; must stay valid until the request leaves
  bool remote_prefill = false;  ///< decode role: the prompt's KV comes from a prefill worker
};

/// A token (or the first and last of a run of them) that a step made.
struct TokenEvent {
  RequestId id;
  SimTime at;               ///< end of the step
  std::int64_t produced = 0;  ///< output tokens of the request so far
  bool finished = false;
};

/// First admission of a request into a batch.
struct Admission {
  RequestId id;
  SimTime at;
  std::int64_t cached_tokens = 0;
};

/// What happened since the outcome was last cleared. The driver clears and reuses it.
struct Outcome {
  std::vector<Admission> admitted;
  /// Stepwise: every token. Fast-forward: the first, second and last of each request.
  std::vector<TokenEvent> tokens;
  std::vector<RequestId> prefilled;   ///< prefill role: done, KV held until release_held()
  std::vector<RequestId> kv_wanted;   ///< decode role: destination reserved, transfer may begin
  std::vector<RequestId> preempted;   ///< one entry per preemption
  std::vector<kvbm::KvEvent> kv_events;
  void clear();
};

/// The engine at a glance, for routers and metrics.
struct EngineLoad {
  std::int32_t running = 0;
  std::int32_t waiting = 0;
  std::int64_t used_blocks = 0;   ///< referenced by a request
  std::int64_t cached_blocks = 0; ///< free but still holding reusable KV
  std::int64_t total_blocks = 0;
  std::int64_t steps = 0;
  std::int64_t preemptions = 0;
};

enum class Stepping {
  every_step,    ///< an outcome for every token: what a server streams
  fast_forward,  ///< runs of decode steps in which nothing can change are one event
};

/// Why a request cannot run here at all.
enum class errc { prompt_exceeds_context = 1, prompt_exceeds_cache };

struct EngineOptions {
  EngineConfig config;  ///< kv_blocks and max_model_len set
  WorkerRole role = WorkerRole::aggregated;
  Stepping stepping = Stepping::fast_forward;
  bool publish_kv_events = false;
};

/// One engine (one scheduler, one block pool) as a state machine over time. It has no clock and
/// does no I/O: the driver says what time it is, calls `advance` when `next_event` is due, and
/// reads the outcome. `sim` steps it by events, a simulated worker of `serve` by a timer; equal
/// calls at equal times give equal outcomes. Fast-forward and every_step differ in how many
/// outcomes are reported, never in when anything happens. Not thread-safe.
///
/// Protocol: every call's `now` is >= that of the call before. After submit, cancel, kv_received
/// or release_held, call `advance(now, outcome)` once: an idle engine starts a step then. Then wait
/// until `next_event()` or the next call.
class Engine {
 public:
  Engine(EngineOptions options, std::shared_ptr<const perf::StepTimer> timer);
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
  /// Decode role: the prompt's KV has arrived; the request may be scheduled.
  void kv_received(RequestId id, SimTime now);
  /// Prefill role: the transfer ended (or was given up); the held blocks are freed.
  void release_held(RequestId id, SimTime now);

  /// Finishes every step that ends at or before `now` and starts the next where there is work.
  void advance(SimTime now, Outcome& outcome);
  /// When the step (or run of steps) in progress ends; none when idle.
  std::optional<SimTime> next_event() const;

  /// The load at `now`, which may lie within a run of steps.
  EngineLoad load(SimTime now) const;
  /// Gaps between neighbouring tokens so far, as counts; for inter_chunk_latency.
  std::vector<GapCount> token_gaps() const;
  /// Asserts that no block is lost and no request forgotten; for tests and ends of runs.
  void check_invariants() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dyn::engine
