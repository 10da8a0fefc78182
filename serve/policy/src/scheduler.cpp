#include "dyn/policy/scheduler.h"

#include <algorithm>
#include <cmath>

#include "dyn/core/check.h"
#include "scheduler_impl.h"

namespace dyn::policy {

void Outcome::clear() {
  admitted.clear();
  tokens.clear();
  prefilled.clear();
  kv_wanted.clear();
  preempted.clear();
  kv_events.clear();
  tier_transfers.clear();
}

bool Outcome::empty() const {
  return admitted.empty() && tokens.empty() && prefilled.empty() && kv_wanted.empty() &&
         preempted.empty() && kv_events.empty() && tier_transfers.empty();
}

Habits habits_of(const EngineConfig& config) {
  Habits habits;
  if (config.kind == "sglang") {
    // SGLang 0.5: new_token_ratio falls from 0.7 to 0.14 of that over 600 decode steps
    // (times schedule_conservativeness), outputs are clipped at CLIP_MAX_NEW_TOKENS.
    habits.prefill_first = true;
    habits.whole_pages = true;
    habits.retracts = true;
    habits.reserve = Reserve::estimate;
    habits.share = std::min(0.7 * config.sglang.schedule_conservativeness, 1.0);
    habits.least_share = 0.14 * habits.share;
    habits.decay = (habits.share - habits.least_share) / 600;
    habits.most_output = config.sglang.clip_max_new_tokens;
    habits.longest_prefix_first =
        config.sglang.schedule_policy == SchedulePolicy::lpm && config.prefix_caching;
    habits.most_prompt_tokens = config.sglang.max_prefill_tokens;
  } else if (config.kind == "trtllm" && config.capacity == CapacityPolicy::guaranteed_no_evict) {
    habits.reserve = Reserve::to_the_end;
  }
  return habits;
}

Pace pace_of(const SchedulerOptions& options) {
  Pace pace;
  const std::optional<SpeculationConfig>& speculation = options.config.speculation;
  if (speculation && options.role != WorkerRole::prefill) {
    pace.drafts = speculation->draft_tokens;
    const double kept = std::clamp(speculation->acceptance_length.value_or(1), 1.0,
                                   static_cast<double>(1 + pace.drafts));
    pace.tokens_per_step = std::llround(kept * static_cast<double>(std::int64_t{1} << Pace::kBits));
  }
  return pace;
}

/// Blocks that the ledger of sequences whose layers all slide has room for: those of as many as
/// could hold a page each, and as many again to be found.
std::uint64_t ledger_blocks(const SchedulerOptions& options) {
  if (options.groups.whole > 0) {
    return 1;
  }
  const std::int64_t longest = options.config.max_model_len.value_or(std::int64_t{1} << 24);
  const std::int64_t each = longest / options.config.block_size + 2;
  return static_cast<std::uint64_t>(2 * each * options.config.kv_blocks.value_or(1));
}

Scheduler::Impl::Impl(const SchedulerOptions& given)
    : options(given),
      habits(habits_of(given.config)),
      separate(habits.prefill_first && given.role != WorkerRole::decode),
      block_size(given.config.block_size),
      page(habits.whole_pages && block_size <= given.config.max_num_batched_tokens ? block_size
                                                                                   : 1),
      max_running(static_cast<std::int32_t>(std::min<std::int64_t>(
          given.config.max_num_seqs, std::max<std::int64_t>(1, given.config.max_num_batched_tokens /
                                                                   (1 + pace_of(given).drafts))))),
      pool(static_cast<std::uint64_t>(given.config.kv_blocks.value_or(0)),
           given.config.cache_eviction, given.recompute),
      ledger(ledger_blocks(given)),
      decodes(given.config.block_size, pace_of(given)),
      groups(given.groups),
      split(given.groups.split()),
      sliding(given.config.block_size, given.groups.window) {
  DYN_ASSERT(max_running > 0 && block_size > 0 && pool.total() > 0, "an engine without room");
  if (!given.tiering.tiers.levels.empty() && given.config.prefix_caching) {
    DYN_ASSERT(given.tiering.timer != nullptr, "loads are weighed against computing");
    DYN_ASSERT(given.tiering.tiers.levels.size() <= 3, "three tiers below the device");
    tiers = std::make_unique<kvbm::Tiers>(given.tiering.tiers);
  }
  if (given.config.lora) {
    adapters.emplace(*given.config.lora);
  }
  if (groups.most_states > 0) {
    max_running = std::min(max_running, static_cast<std::int32_t>(groups.most_states));
  }
  context().record_events(given.kv_events || tiers != nullptr);
  ratio_from = habits.share;
}

/// Takes a decoding request out of the sums; it then holds blocks like any other.
void Scheduler::Impl::leave_decodes(Slot slot) {
  Request& request = requests[slot];
  if (split) {
    leave_groups(slot);
  }
  decodes.leave(request.base);
  finish_sum -= request.finish;
  long_outputs -= request.spec.max_output_tokens > habits.most_output ? 1 : 0;
  request.nameless = blocks_for(decodes.held_tokens(request.base)) -
                     static_cast<std::int64_t>(request.named.size());
}

/// Gives back all blocks.
void Scheduler::Impl::release_blocks(Slot slot) {
  Request& request = requests[slot];
  if (split) {
    release_groups(slot);
  }
  if (tiers != nullptr) {
    std::erase_if(computed, [&](const Computed& part) { return part.slot == slot; });
  }
  context().release(request.named, static_cast<std::uint64_t>(request.nameless));
  request.named.clear();
  request.nameless = 0;
  hold_window(request, 0);
  blocked = false;
}

/// Puts a request into the queue: last, or where its priority has it.
void Scheduler::Impl::enqueue(Slot slot) {
  Slot next = kNoSlot;
  if (options.config.queue == QueuePolicy::priority) {
    Slot after = waiting.tail;
    while (after != kNoSlot && more_urgent(requests[slot], requests[after])) {
      next = after;
      after = requests[after].previous;
    }
  }
  waiting.insert(requests, slot, next);
}

void Scheduler::Impl::remove(Slot slot) {
  Request& request = requests[slot];
  if (request.state == State::decoding) {
    leave_decodes(slot);
  }
  release_blocks(slot);
  switch (request.state) {
    case State::unused:
      DYN_ASSERT(false, "removes a request twice");
      break;
    case State::waiting:
      waiting.remove(requests, slot);
      break;
    case State::receiving:
      receiving.remove(requests, slot);
      break;
    case State::received:
      received.remove(requests, slot);
      break;
    case State::held:
      held.remove(requests, slot);
      break;
    case State::fetching:
      tiers->give_up(request.spec.id);
      fetching.remove(requests, slot);
      break;
    case State::loading:
      tiers->give_up(request.spec.id);
      loading.remove(requests, slot);
      break;
    case State::prefilling:
    case State::decoding:
      stop_running(slot);
      partial = partial == slot ? kNoSlot : partial;
      break;
  }
  requests.erase(slot);
}

Scheduler::Scheduler(SchedulerOptions options) : impl_(std::make_unique<Impl>(options)) {}
Scheduler::~Scheduler() = default;
Scheduler::Scheduler(Scheduler&&) noexcept = default;
Scheduler& Scheduler::operator=(Scheduler&&) noexcept = default;

bool Scheduler::fits(const EngineRequest& request) const {
  const Impl& s = *impl_;
  const std::int64_t pages =
      s.groups.all_pages(s.blocks_to_the_end(request), s.options.config.max_num_batched_tokens,
                         s.block_size, s.decodes.drafts());
  return pages <= total_blocks();
}

void Scheduler::submit(const EngineRequest& request) {
  DYN_ASSERT(request.prompt_tokens > 0 && request.max_output_tokens > 0, "an empty request");
  DYN_ASSERT(fits(request), "the request cannot run here");
  DYN_ASSERT(
      static_cast<std::int64_t>(request.blocks.size()) * impl_->block_size <= request.prompt_tokens,
      "only full prompt blocks have a hash");
  DYN_ASSERT(request.adapter == kNoAdapter || impl_->adapters, "an engine without LoRA slots");
  const Slot slot = impl_->requests.insert(request);
  impl_->requests[slot].place = impl_->next_place++;
  if (impl_->split) {
    impl_->clear_groups(slot);
  }
  const bool fetches = impl_->tiers != nullptr && impl_->options.tiering.prefetch;
  if (fetches && !request.remote_prefill && impl_->prefetch(slot)) {
    return;
  }
  impl_->requests[slot].state = State::waiting;
  impl_->enqueue(slot);
  const bool passes = impl_->adapters && impl_->adapters->may_join(request.adapter);
  impl_->blocked = impl_->blocked && impl_->waiting.head != slot && !passes;
}

void Scheduler::reserve(SimTime now, Outcome& outcome) {
  Impl& s = *impl_;
  if (s.options.reserve_at_once && s.first_of(s.received) == kNoSlot) {
    const auto first = [&] { return s.first_of(s.waiting); };
    while (first() != kNoSlot && s.requests[first()].remote && s.running.size < s.max_running &&
           s.admit_waiting(now, outcome)) {
    }
  }
}

bool Scheduler::cancel(RequestId id) {
  const Slot slot = impl_->requests.find(id);
  if (slot == kNoSlot) {
    return false;
  }
  Request& request = impl_->requests[slot];
  if (request.state != State::prefilling && request.state != State::decoding) {
    impl_->remove(slot);
    return false;
  }
  if (!request.cancelled) {
    request.cancelled = true;
    impl_->cancelled.push_back(slot);
  }
  return true;
}

void Scheduler::kv_received(RequestId id) {
  const Slot slot = impl_->requests.find(id);
  if (slot == kNoSlot || impl_->requests[slot].state != State::receiving) {
    return;
  }
  impl_->receiving.remove(impl_->requests, slot);
  Request& request = impl_->requests[slot];
  request.state = State::received;
  // Those who reserved first join first.
  Slot after = impl_->received.tail;
  Slot next = kNoSlot;
  while (after != kNoSlot && impl_->requests[after].order > request.order) {
    next = after;
    after = impl_->requests[after].previous;
  }
  impl_->received.insert(impl_->requests, slot, next);
}

void Scheduler::release_held(RequestId id) {
  const Slot slot = impl_->requests.find(id);
  if (slot != kNoSlot && impl_->requests[slot].state == State::held) {
    impl_->remove(slot);
  }
}

std::int64_t Scheduler::tokens_wanted(RequestId id) const {
  const Slot slot = impl_->requests.find(id);
  if (slot == kNoSlot || impl_->requests[slot].state != State::receiving) {
    return 0;
  }
  return impl_->requests[slot].spec.prompt_tokens - impl_->requests[slot].cached;
}

Scheduler::Progress Scheduler::progress(RequestId id) const {
  const Slot slot = impl_->requests.find(id);
  if (slot == kNoSlot) {
    return {};
  }
  const Request& request = impl_->requests[slot];
  if (request.state == State::decoding) {
    const std::int64_t known = request.base + impl_->decodes.made();
    return {known - 1, known - request.spec.prompt_tokens};
  }
  const bool here = request.state == State::prefilling || request.state == State::held;
  return {here ? request.computed : request.cached, request.produced};
}

bool Scheduler::has_work() const {
  return !impl_->running.empty() || !impl_->waiting.empty() || !impl_->received.empty();
}

void Scheduler::begin_step(SimTime now, Outcome& outcome) {
  impl_->begin_step(now, outcome);
}

std::int64_t Scheduler::growth(std::int64_t ahead) const {
  return impl_->decodes.gain(ahead);
}

std::int64_t Scheduler::blocks_ahead(std::int64_t steps) const {
  const Impl& s = *impl_;
  return s.pages_a_block() * s.decodes.blocks_ahead(steps) -
         s.groups.sliding * s.sliding.left_behind(s.slid_to, s.decodes.made(steps));
}

const perf::StepBatch& Scheduler::batch() const {
  return impl_->batch;
}

bool Scheduler::may_admit() const {
  if (impl_->running.size >= impl_->max_running) {
    return false;
  }
  const bool open =
      !impl_->blocked || impl_->room_again(1) || (impl_->split && impl_->has_slid_enough(1));
  return (open && impl_->first_of(impl_->waiting) != kNoSlot) ||
         impl_->first_of(impl_->received) != kNoSlot;
}

std::int64_t Scheduler::quiet_steps() const {
  const bool prefill = impl_->partial != kNoSlot || !impl_->completing.empty();
  if (prefill || may_admit() || !impl_->cancelled.empty() || impl_->decodes.count() == 0 ||
      !impl_->pauses.empty()) {
    return 1;
  }
  std::int64_t to_finish = impl_->decodes.steps_until(impl_->next_finish());
  if (impl_->split) {
    to_finish = impl_->steps_to_slide(to_finish);
  }
  // A tier that is written back must hear of an eviction when it happens.
  const bool hears = impl_->tiers != nullptr && impl_->tiers->writes_back();
  const std::int64_t blocks =
      hears ? static_cast<std::int64_t>(impl_->pool.uncached_front()) : impl_->free_blocks();
  return 1 + impl_->steps_blocked(
                 impl_->decodes.steps_within(blocks / impl_->pages_a_block(), to_finish - 1));
}

void Scheduler::repeat(std::int64_t steps, SimTime first_end, Outcome& outcome) {
  if (steps == 0) {
    return;
  }
  impl_->had_prefill = false;
  impl_->report_second(first_end, outcome);
  const std::size_t events = impl_->context().events().size();
  impl_->take_for_decodes(impl_->decodes.blocks_ahead(steps));
  impl_->note_evictions(events);
  impl_->decodes.advance(steps);
  if (impl_->split) {
    impl_->slide_windows();
  }
  impl_->batch.decode_context = impl_->decodes.context();
}

std::int64_t Scheduler::end_step(SimTime now, Outcome& outcome) {
  return impl_->end_step(now, outcome);
}

std::span<const Duration> Scheduler::resumed_gaps() const {
  return impl_->resumed_gaps;
}

std::vector<kvbm::KvEvent>& Scheduler::kv_events() {
  return impl_->context().events();
}

std::int32_t Scheduler::running() const {
  return impl_->running.size;
}

std::int32_t Scheduler::waiting() const {
  return impl_->waiting.size + impl_->received.size + impl_->receiving.size + impl_->fetching.size +
         impl_->loading.size;
}

std::int32_t Scheduler::held() const {
  return impl_->held.size;
}

std::int64_t Scheduler::total_blocks() const {
  return static_cast<std::int64_t>(impl_->pool.total());
}

std::int64_t Scheduler::used_blocks() const {
  return static_cast<std::int64_t>(impl_->pool.used());
}

std::int64_t Scheduler::cached_blocks() const {
  return static_cast<std::int64_t>(impl_->pool.cached());
}

std::int64_t Scheduler::preemptions() const {
  return impl_->preemptions;
}

}  // namespace dyn::policy
