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
#include "group_pages.h"
#include "request_table.h"
#include "sliding_set.h"

namespace dyn::policy {

/// How much of the cache is kept free for the output to come of those that run.
enum class Reserve : std::uint8_t { none, estimate, to_the_end };

/// What an engine's scheduler does differently from vLLM's.
struct Habits {
  /// A step computes prompts or decodes, never both; prompts first.
  bool prefill_first = false;
  /// Prompts are cut and charged in whole blocks.
  bool whole_pages = false;
  /// Where decoding requests find no block, those with the least output go, to the end of the
  /// queue, and what they have made is computed again.
  bool retracts = false;
  /// The queue is in order of what is cached of each, while it is short.
  bool longest_prefix_first = false;
  /// Prompt tokens of a step beyond which no further prompt is taken.
  std::int64_t most_prompt_tokens = std::numeric_limits<std::int64_t>::max();
  Reserve reserve = Reserve::none;
  /// estimate: every running request counts for `share` of its output to come, of at most
  /// `most_output` tokens; the share falls by `decay` each decode step, down to `least_share`.
  double share = 0;
  double least_share = 0;
  double decay = 0;
  std::int64_t most_output = std::numeric_limits<std::int64_t>::max();
};
Habits habits_of(const EngineConfig& config);
/// How fast an engine's sequences decode.
Pace pace_of(const SchedulerOptions& options);

/// Decode steps that SGLang expects those to make who are left after a retraction
/// (SGLANG_RETRACT_DECODE_STEPS).
inline constexpr std::int64_t kRetractDecodeSteps = 20;

struct Scheduler::Impl {
  explicit Impl(const SchedulerOptions& options);

  // Requests (scheduler.cpp).
  void leave_decodes(Slot slot);
  void release_blocks(Slot slot);
  void enqueue(Slot slot);
  void remove(Slot slot);
  static bool more_urgent(const Request& a, const Request& b) {
    return a.spec.priority != b.spec.priority ? a.spec.priority > b.spec.priority
                                              : a.place < b.place;
  }
  std::int64_t blocks_for(std::int64_t tokens) const {
    return (tokens + block_size - 1) / block_size;
  }
  std::int64_t free_blocks() const { return static_cast<std::int64_t>(pool.free()); }

  // What a preempted request had computed stays in the cache (scheduler_kept.cpp).
  void keep(Slot slot, std::int64_t tokens);
  kvbm::BlockPool::Match match_kept(const Request& request, std::int64_t limit);

  // SGLang's order of the queue (scheduler_order.cpp).
  bool may_try() {
    return !waiting.empty() && (!blocked || room_again(0) || (split && has_slid_enough(0)));
  }
  void order_waiting();

  // Groups of layers that do not keep the whole context (scheduler_groups.cpp).
  static std::uint32_t group_number(std::size_t index) {
    return static_cast<std::uint32_t>(index + 1);
  }
  /// Tokens that a request has KV of when it computes its first itself.
  std::int64_t computed_with(const Request& request, std::uint32_t hit) const {
    return request.remote ? request.known() : hit * block_size;
  }
  std::int64_t first_in_window(std::int64_t done) const;
  std::int64_t running_state() const;
  /// Tokens of the next chunk of a request of which `done` are computed; 0: the budget is too
  /// small.
  std::int64_t chunk_tokens(Slot slot, std::int64_t done, std::int64_t most) const {
    const std::int64_t left = requests[slot].known() - done;
    const std::int64_t tokens = left > most ? most / page * page : left;
    return groups.linear == 0 ? tokens : cut_to_state(slot, done, tokens);
  }
  std::int64_t cut_to_state(Slot slot, std::int64_t done, std::int64_t tokens) const;
  std::int64_t group_need(Slot slot, std::int64_t filled) const;
  void take_groups(Slot slot, std::int64_t filled);
  void slide(Slot slot, std::int64_t done);
  void slide_windows();
  std::int64_t next_slide();
  void push_slide(Slot slot);
  void join_groups(Slot slot);
  void leave_groups(Slot slot);
  void release_groups(Slot slot);
  void clear_groups(Slot slot);
  void publish_groups(Slot slot, std::int64_t tokens, bool completes);
  void keep_groups(Slot slot, const kvbm::PromptBlocks& own, std::int64_t full);
  /// Pages that a decoding sequence takes for a block.
  std::int64_t pages_a_block() const { return groups.whole + groups.sliding; }
  void take_for_decodes(std::int64_t blocks);
  /// Where the blocks of the group that keeps the whole context are: in the pool, or where there is
  /// no such group in the ledger.
  kvbm::BlockPool& context() { return groups.whole == 0 ? ledger : pool; }
  const kvbm::BlockPool& context() const { return groups.whole == 0 ? ledger : pool; }
  bool has_slid_enough(std::int64_t ahead);
  std::int64_t steps_to_slide(std::int64_t limit);
  std::int64_t steps_without_room(std::int64_t limit) const;
  void check_groups(Slot slot, std::int64_t in_progress, std::uint64_t& references,
                    std::uint64_t& nameless) const;

  // The pool of sliding layers (scheduler_windows.cpp).
  std::int64_t window_to_decode(const Request& request) const;
  std::int64_t window_to_admit(const Request& request, std::int64_t cached) const;
  bool window_fits(const Request& request, std::int64_t cached);
  void hold_window(Request& request, std::int64_t blocks);
  void check_windows() const;

  // Hits that all groups agree on (scheduler_hits.cpp, and kept blocks in scheduler_kept.cpp).
  bool cut_to_groups(Slot slot, kvbm::BlockPool::Match& match);
  std::uint32_t agreed_hit(const Request& request, const kvbm::PromptBlocks& own,
                           std::uint32_t limit);
  std::int64_t find_groups(const Request& request, const kvbm::PromptBlocks& own,
                           std::uint32_t hit);
  std::int64_t admission_pages(const Request& request, std::uint32_t hit,
                               std::int64_t filled) const;
  void acquire_groups(Slot slot, std::uint32_t hit);

  // Choosing a step's batch (scheduler_begin.cpp).
  void begin_step(SimTime now, Outcome& outcome);
  void choose_batch(SimTime now, Outcome& outcome);
  void make_room(SimTime now, Outcome& outcome);
  std::int64_t blocks_for_partial() const;
  void place_decodes();
  void preempt(Slot slot, SimTime now, Outcome& outcome);
  Slot least_urgent() const;
  bool place_chunk(Slot slot, std::int64_t most);
  void admit(SimTime now, Outcome& outcome);
  void join_received(Slot slot, SimTime now, Outcome& outcome);
  bool admit_waiting(SimTime now, Outcome& outcome);
  void place_partial();
  void pause_decodes(SimTime now);
  void reserve_remote(Slot slot, std::int64_t need, Outcome& outcome);
  void enter_batch(Slot slot, SimTime now, Outcome& outcome);
  void publish_prompt(Slot slot, std::int64_t tokens, bool completes);

  // Room for the output to come (scheduler_reserve.cpp).
  /// What the head of the queue needs before it fits; 0 tokens: only a freed block helps.
  struct Wanted {
    std::int64_t tokens = 0;  ///< to compute and to come
    std::int64_t idle = 0;    ///< blocks that are free now but its own
  };
  std::int64_t budget() const;
  void charge(const Request& request, std::int64_t tokens, bool completes);
  void block(Wanted wanted_room, std::int64_t pages = 0);
  bool leaves_room(const Request& request, const kvbm::BlockPool::Match& match);
  std::int64_t blocks_to_the_end(const EngineRequest& request) const;
  bool fits_to_the_end(const Request& request, std::int64_t room) const;
  double ratio(std::int64_t ahead) const;
  std::int64_t output_to_come(std::int64_t ahead) const;
  double estimated_room(std::int64_t ahead) const;
  bool room_again(std::int64_t ahead) const;
  std::int64_t steps_blocked(std::int64_t limit) const;
  Slot next_retracted() const;
  void retract(SimTime now, Outcome& outcome);

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

  // Images (scheduler_images.cpp).
  void encode_images(const Request& request, std::int64_t from, std::int64_t to);

  // LoRA adapters (scheduler_adapters.cpp).
  /// The first of a list that may be in a batch with those that run.
  Slot first_of(const RequestList& list) const {
    return adapters ? first_joinable(list) : list.head;
  }
  Slot first_joinable(const RequestList& list) const;
  void use_adapter(const Request& request);
  void stop_running(Slot slot);
  void check_adapters() const;

  // Ending it (scheduler_end.cpp).
  std::int64_t end_step(SimTime now, Outcome& outcome);
  std::int64_t end_decodes(SimTime now, Outcome& outcome);
  void report_every(SimTime now, Outcome& outcome);
  void report_second(SimTime now, Outcome& outcome);
  void finish_due(SimTime now, Outcome& outcome);
  void complete_prefill(Slot slot, SimTime now, Outcome& outcome);
  struct Finish;
  const Finish* soonest(std::vector<Finish>& heap) const;
  std::int64_t next_finish();

  SchedulerOptions options;
  Habits habits;
  bool separate;  ///< steps compute prompts or decode, never both
  std::int64_t block_size;
  std::int64_t page;  ///< prompts are cut and charged in multiples of so many tokens
  std::int32_t max_running;
  kvbm::BlockPool pool;
  kvbm::BlockPool ledger;  ///< blocks of sequences whose layers all slide, with no memory behind
  RequestTable requests;
  RequestList running;   ///< in order of admission
  RequestList waiting;   ///< the queue
  RequestList received;  ///< in order of reservation
  RequestList receiving;
  RequestList held;
  RequestList fetching;
  RequestList loading;
  DecodeSet decodes;
  perf::CacheGroups groups;
  bool split;  ///< there are groups beside the one that keeps the whole context
  std::vector<GroupPages> group_pages;        ///< by slot, where groups are split
  std::vector<kvbm::HeldBlocks> group_found;  ///< scratch
  SlidingSet sliding;                         ///< whose windows are over blocks without hashes
  std::int64_t slid_to = 0;                   ///< what decodes.made() was when those last moved
  std::vector<kvbm::BlockHash> fresh_states;  ///< put under a hash in this step
  std::int64_t window_taken = 0;              ///< blocks of the pool of sliding layers
  std::int64_t wanted_pages = 0;              ///< of the blocked head of the queue; 0: none help it
  perf::StepBatch batch;
  Slot partial = kNoSlot;        ///< prompt cut off by the budget; always the last that runs
  std::vector<Slot> completing;  ///< whose prompts the step in progress completes
  bool preempted = false;        ///< somebody was, in this step
  bool had_prefill = false;      ///< the step before had
  /// The head of the queue (or the first whose adapter may join) did not fit, and nothing has
  /// happened since that could change it: no block was freed or published, and the batch is the
  /// same but for growth.
  bool blocked = false;

  /// When a decoding request makes its last token; stale if it was removed or preempted.
  struct Finish {
    std::int64_t made;  ///< what DecodeSet::made() is then
    std::uint64_t order;
    Slot slot;
    bool operator>(const Finish& other) const {
      return made != other.made ? made > other.made : order > other.order;
    }
  };
  std::vector<Finish> finishes;  ///< a binary heap, soonest first
  std::vector<Finish> slides;    ///< likewise, when windows leave blocks behind
  std::vector<Finish> due;       ///< scratch
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
  bool paused = false;            ///< the step in progress computes prompts only
  double ratio_from = 0;          ///< share of the output to come when it last was set
  std::int64_t ratio_since = 0;   ///< decode steps done then
  std::int64_t finish_sum = 0;    ///< over decoding requests, of `finish`
  std::int32_t long_outputs = 0;  ///< decoding requests with more output than is ever counted
  std::int64_t charged = 0;       ///< prompt tokens of this step, in whole blocks
  std::int64_t reserved = 0;      ///< output of those whose prompts end in this step
  Wanted wanted;                  ///< of the blocked head of the queue
  kvbm::HeldBlocks found;         ///< scratch
  kvbm::HeldBlocks found_kept;    ///< scratch
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
  std::vector<kvbm::BlockHash> evicted;  ///< scratch
  std::int64_t preemptions = 0;

  std::optional<AdapterSlots> adapters;  ///< none: the model alone
  Duration adapter_load{0};              ///< of the step in progress
  AdapterUse adapter_use;
  perf::ImageBatch image_batch;  ///< of the step in progress
};

}  // namespace dyn::policy
