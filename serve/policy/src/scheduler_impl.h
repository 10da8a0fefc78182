#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "decode_set.h"
#include "dyn/kvbm/block_pool.h"
#include "dyn/policy/scheduler.h"
#include "request_table.h"

namespace dyn::policy {

/// What an engine's scheduler does differently from vLLM's.
struct Habits {
  /// A step computes prompts or decodes, never both; prompts first.
  bool prefill_first = false;
  /// For how much of its output to come, up to `most_output` tokens, every running request counts
  /// when another asks to be admitted: `share` at first and after a preemption, falling to
  /// `least_share` over `relaxing_steps` decode steps. 0: for none.
  double share = 0;
  double least_share = 0;
  double relaxing_steps = 1;
  std::int64_t most_output = std::numeric_limits<std::int64_t>::max();
};
Habits habits_of(const std::string& kind);

struct Scheduler::Impl {
  explicit Impl(const SchedulerOptions& options);

  // Requests (scheduler.cpp).
  void release_blocks(Request& request);
  void remove(Slot slot);
  std::int64_t blocks_for(std::int64_t tokens) const {
    return (tokens + block_size - 1) / block_size;
  }
  std::int64_t free_blocks() const { return static_cast<std::int64_t>(pool.free()); }

  // Choosing a step's batch (scheduler_begin.cpp).
  void begin_step(SimTime now, Outcome& outcome);
  void choose_batch(SimTime now, Outcome& outcome);
  void place_decodes(SimTime now, Outcome& outcome);
  void preempt_last(SimTime now, Outcome& outcome);
  bool place_chunk(Slot slot, std::int64_t budget);
  void admit(SimTime now, Outcome& outcome);
  bool join_received(SimTime now, Outcome& outcome);
  bool admit_waiting(SimTime now, Outcome& outcome);
  void place_partial(SimTime now, Outcome& outcome);
  void pause_decodes(SimTime now);
  double output_share() const;
  bool leaves_room(const Request& request, std::int64_t room);
  void reserve_remote(Slot slot, std::int64_t need, Outcome& outcome);
  void enter_batch(Slot slot, SimTime now, Outcome& outcome);
  void publish_prompt(Request& request, std::int64_t tokens);

  // Tiers below the device (scheduler_tiers.cpp).
  kvbm::PromptUse prompt_of(const Request& request) const {
    return {request.spec.blocks, request.spec.future};
  }
  enum class LoadStart {
    none,     ///< what tiers have is computed instead
    begun,    ///< the request waits for its load
    no_room,  ///< there are too few blocks to load into
  };
  std::uint32_t worth_loading(const Request& request, std::uint32_t cached);
  void cut_runs(std::uint32_t end);
  bool prefetch(Slot slot);
  LoadStart load(Slot slot, const kvbm::BlockPool::Match& match, SimTime now);
  void loaded(Slot slot);
  void queue_again(Slot slot);
  void note_use(Request& request);
  void write_through();
  void hold_for(std::optional<kvbm::TierTransferId> transfer, const Request& request,
                std::uint32_t end);
  void note_evictions(std::size_t begin);
  void account(const Request& request, Admission& admission) const;

  // Ending it (scheduler_end.cpp).
  std::int64_t end_step(SimTime now, Outcome& outcome);
  std::int64_t end_decodes(SimTime now, Outcome& outcome);
  void report_every(SimTime now, Outcome& outcome);
  void report_second(SimTime now, std::int64_t steps, Outcome& outcome);
  void finish_due(SimTime now, Outcome& outcome);
  void complete_prefill(Slot slot, SimTime now, Outcome& outcome);
  std::int64_t next_finish();

  SchedulerOptions options;
  Habits habits;
  std::int64_t block_size;
  std::int32_t max_running;
  kvbm::BlockPool pool;
  RequestTable requests;
  RequestList running;   ///< in order of admission
  RequestList waiting;   ///< the queue
  RequestList received;  ///< in order of reservation
  RequestList receiving;
  RequestList held;
  RequestList fetching;
  RequestList loading;
  DecodeSet decodes;
  perf::StepBatch batch;
  Slot partial = kNoSlot;        ///< prompt cut off by the budget; always the last that runs
  std::vector<Slot> completing;  ///< whose prompts the step in progress completes
  bool preempted = false;        ///< somebody was, in this step
  bool had_prefill = false;      ///< the step before had
  /// The head of the queue did not fit, and nothing has happened since that could change it: no
  /// block was freed or published, and the batch is the same but for growth.
  bool blocked = false;

  /// When a decoding request makes its last token; stale if it was removed or preempted.
  struct Finish {
    std::int64_t step;
    std::uint64_t order;
    Slot slot;
    bool operator>(const Finish& other) const {
      return step != other.step ? step > other.step : order > other.order;
    }
  };
  std::vector<Finish> finishes;  ///< a binary heap, soonest first
  struct Fresh {
    Slot slot;
    std::uint64_t order;
  };
  std::vector<Fresh> fresh;  ///< made their first token in the step before
  std::vector<Slot> cancelled;
  std::vector<Duration> resumed_gaps;
  /// Requests that decode but had no token since, because steps computed prompts only.
  struct Pause {
    SimTime since;
    std::int64_t count;
  };
  std::vector<Pause> pauses;
  bool paused = false;          ///< the step in progress computes prompts only
  std::int64_t relaxed_at = 0;  ///< decode steps done when `share` last began to fall
  kvbm::HeldBlocks found;       ///< scratch
  std::uint64_t next_order = 0;
  std::uint64_t next_place = 0;

  std::unique_ptr<kvbm::Tiers> tiers;  ///< null: none
  /// Blocks of the device that a transfer reads.
  struct Hold {
    kvbm::TierTransferId transfer;
    kvbm::HeldBlocks blocks;
  };
  std::vector<Hold> holds;
  /// Blocks [begin, end) of a prompt that the step in progress computes.
  struct Computed {
    Slot slot;
    std::uint32_t begin;
    std::uint32_t end;
  };
  std::vector<Computed> computed;
  std::vector<kvbm::Tiers::Run> runs;  ///< scratch
  std::vector<kvbm::TierTransfer> no_transfers;
  std::int64_t preemptions = 0;
};

}  // namespace dyn::policy
