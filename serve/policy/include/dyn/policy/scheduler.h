#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "dyn/core/id.h"
#include "dyn/core/plan.h"
#include "dyn/core/quantity.h"
#include "dyn/perf/cache_groups.h"
#include "dyn/perf/image_timer.h"
#include "dyn/perf/step_timer.h"
#include "dyn/policy/batch.h"

namespace dyn::policy {

/// The tiers below the device, if a scheduler has some.
struct TieringOptions {
  kvbm::TiersOptions tiers;  ///< no levels: there are none
  bool prefetch = false;     ///< blocks of queued requests come into the first level
  /// Predicts what computing a prompt would take instead. Set where there are levels.
  std::shared_ptr<const perf::StepTimer> timer;
};

struct SchedulerOptions {
  EngineConfig config;  ///< kv_blocks set
  WorkerRole role = WorkerRole::aggregated;
  bool every_token = false;  ///< report every token, not just the first, second and last
  bool kv_events = false;    ///< record changes of the cache
  TieringOptions tiering{};
  /// Decode role: room for a request's KV is taken as soon as it is submitted, by reserve(), and
  /// not only when the next step begins, as vLLM does.
  bool reserve_at_once = false;
  AdapterLoadTimes adapter_load{};  ///< where the engine has LoRA slots
  kvbm::RecomputeCost recompute{};  ///< of a block, where cache_eviction is cost_aware
  perf::CacheGroups groups{};       ///< of the model; split only without tiers, and for vLLM
};

/// Which requests enter each step of one engine, and which KV blocks they get: continuous
/// batching as vLLM's V1 scheduler does it (first come, first served). Each step has a budget of
/// max_num_batched_tokens:
///  1. Running requests in order of admission: one token each, or the next chunk of a prompt.
///     Where no block is left, the request last admitted is preempted: it loses its blocks, goes to
///     the head of the queue and is recomputed, output included.
///  2. Unless somebody was preempted: requests whose remote KV has arrived, then the queue, in
///     order, until max_num_seqs, budget or blocks are exhausted; the first that does not fit
///     blocks those behind it. Leading full blocks found in the cache are not computed, except
///     that at least the last prompt token is. A prompt is cut to the budget, or with
///     chunked_prefill off waits for a step that holds all of it. Full prompt blocks are published
///     when scheduled, so that a request of the same step already finds them. Output is not
///     published: what it will be is not known to a simulation.
/// Engines of kind sglang and trtllm differ (their default settings are followed):
///  - sglang: a step computes prompts or decodes, never both, and prompts come first, up to the
///    budget (chunked_prefill_size). A request is admitted if it fits beside all that runs with a
///    share of the output they have to come: 0.7, falling to 0.098 over 600 decode steps, again
///    0.7 after a preemption (retraction). With schedule_policy lpm the queue is in order of what
///    is cached (scheduler_order.cpp).
///  - trtllm: mixed steps; a request is admitted only if it and all that runs fit to their last
///    tokens, so that nobody is preempted (GUARANTEED_NO_EVICT).
/// There is no watermark. max_num_seqs is capped by the token budget (vLLM refuses more).
///
/// Prefill role: a request makes one token and keeps its blocks until release_held(). Decode role
/// with remote_prefill: blocks for the whole prompt are reserved in queue order (those found in
/// the cache need no transfer), and after kv_received() the request joins and computes the last
/// prompt token again, which yields its first token - as vLLM does with NIXL.
///
/// Tiers: blocks that follow those found in the device and are found in a tier below are loaded,
/// if that is predicted to be faster than computing them (load_choice.h). The request then holds
/// room for them and waits, while others are admitted, as with vLLM's offloading connector; what
/// has arrived is cached like any other block, and the request is back in its place in the queue.
/// It loads once before it is admitted. With prefetch it first waits, when it is submitted, for
/// what lies below the first tier, as in SGLang's HiCache (wait_complete). Prompt blocks are
/// written through when their step ends, and are held until the transfer has read them.
///
/// Groups: layers with sliding windows or linear states have pages of their own in the same pool,
/// as in vLLM's hybrid KV cache manager. They give back what they no longer need as a sequence goes
/// on, and a prefix is found as far as every group has what it needs of it.
///
/// Pools: SGLang's layers with sliding windows have a pool of their own, of which a request is
/// given what its window and a chunk can take; it waits where either pool has too little. Its
/// linear layers' pool of states bounds how many run.
///
/// LoRA adapters: a batch has requests of at most lora.slots adapters. Those of the queue, and
/// those whose remote KV has arrived, that would bring one more are passed over and keep their
/// places. A request that enters a batch whose adapter is not in the device has the step load it.
///
/// All decoding requests advance together, so they are kept as sums: a step without prefill costs
/// O(1) plus the requests that finish, and `repeat` does any number of them at once.
///
/// Protocol: begin_step; if batch() is not empty, repeat any number of times in all less than
/// quiet_steps(), then end_step. Calls that change requests may come at any time. Pure and
/// deterministic. Not thread-safe.
class Scheduler {
 public:
  explicit Scheduler(SchedulerOptions options);
  ~Scheduler();
  Scheduler(Scheduler&&) noexcept;
  Scheduler& operator=(Scheduler&&) noexcept;

  /// Queues a request. Asserts that its id is not in use and that it fits the pool.
  void submit(const EngineRequest& request);
  /// With reserve_at_once: takes room for the requests at the head of the queue whose KV is remote,
  /// as far as there is room.
  void reserve(SimTime now, Outcome& outcome);
  /// Removes a request at once, or, if it is in the batch, at the end of the step. Unknown ids
  /// are ignored. True if it was in the batch.
  bool cancel(RequestId id);
  void kv_received(RequestId id);   ///< decode role; unknown ids are ignored
  void release_held(RequestId id);  ///< prefill role; unknown ids are ignored
  /// A transfer of tier_transfers() has ended; those that were given up are ignored.
  void transfer_done(kvbm::TierTransferId id, SimTime now);
  /// Gives up every transfer between tiers; requests that waited for one compute instead.
  void give_up_transfers();
  /// Prompt tokens of a request that waits for its KV which are not in the cache here, and so
  /// must be transferred; 0 for any other request.
  std::int64_t tokens_wanted(RequestId id) const;

  /// How far a request is: tokens that have KV here, and output tokens made; zeros for unknown ids.
  struct Progress {
    std::int64_t computed = 0;
    std::int64_t produced = 0;
  };
  Progress progress(RequestId id) const;

  /// Whether the request fits the pool, even alone and to its last token.
  bool fits(const EngineRequest& request) const;
  /// Whether anything runs or waits to be scheduled.
  bool has_work() const;
  /// Chooses the next step's batch at `now`. An empty batch means that nobody can run until a
  /// request arrives, leaves or receives its KV.
  void begin_step(SimTime now, Outcome& outcome);
  const perf::StepBatch& batch() const;
  /// The images that the step encodes; it is then no quiet one.
  const perf::ImageBatch& image_batch() const;
  /// How long the step stalls for the LoRA adapters that it loads; it is then no quiet one.
  Duration adapter_load() const;
  /// Tokens that each decoding sequence makes in the step after `ahead` more steps.
  std::int64_t growth(std::int64_t ahead) const;
  /// Blocks that the `steps` decode steps after this one take together.
  std::int64_t blocks_ahead(std::int64_t steps) const;
  /// How many steps, the current one included, are certain to have the same requests and no
  /// preemption, unless calls intervene: 1 if the batch has prefill or somebody may be admitted.
  std::int64_t quiet_steps() const;
  /// Whether the next step might admit somebody; if not, calls since begin_step changed nothing.
  bool may_admit() const;
  /// Ends the current decode-only step at `first_end` and does `steps` more, the last of which is
  /// now in progress.
  void repeat(std::int64_t steps, SimTime first_end, Outcome& outcome);
  /// Ends the step in progress: hands out tokens, removes who is done or cancelled. Returns how
  /// many requests got a token that had one in the step before.
  std::int64_t end_step(SimTime now, Outcome& outcome);
  /// Gaps, in the step just ended, of requests that were preempted after their last token.
  std::span<const Duration> resumed_gaps() const;
  /// KV events recorded so far, for the owner to hand out and clear.
  std::vector<kvbm::KvEvent>& kv_events();
  /// Moves the events of the tiers that are told here (TierLevel::tells) to the end of `events`.
  void take_tier_events(std::vector<kvbm::KvEvent>& events);
  /// Transfers between tiers that began, for the owner to hand out and clear.
  std::vector<kvbm::TierTransfer>& tier_transfers();
  const kvbm::Tiers* tiers() const;  ///< null: none
  const AdapterUse& adapter_use() const;

  std::int32_t running() const;
  std::int32_t waiting() const;  ///< queued, or waiting for remote KV or a tier's
  std::int32_t held() const;     ///< prefilled, blocks held
  std::int64_t total_blocks() const;
  std::int64_t used_blocks() const;
  std::int64_t cached_blocks() const;
  std::int64_t preemptions() const;
  /// Asserts that no block is lost, no request forgotten and that all sums are right.
  void check_invariants() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dyn::policy
