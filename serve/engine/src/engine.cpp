#include "dyn/engine/engine.h"

#include <algorithm>

#include "dyn/core/check.h"
#include "dyn/policy/load_choice.h"
#include "dyn/policy/scheduler.h"
#include "gap_counts.h"

namespace dyn::engine {

namespace {

// A run is cut short by the next arrival that matters, and then the step times computed beyond it
// were for nothing. So the longest run tried doubles while runs complete and shrinks to twice what
// was used when one is cut. This bounds the waste; it changes no time.
constexpr std::int64_t kShortestRun = 16;
constexpr std::int64_t kLongestRun = 4096;

policy::SchedulerOptions scheduler_options(const EngineOptions& options,
                                           std::shared_ptr<const perf::StepTimer> timer) {
  policy::SchedulerOptions result;
  result.config = options.config;
  result.role = options.role;
  result.every_token = options.stepping == Stepping::every_step;
  result.kv_events = options.publish_kv_events;
  result.tiering = options.tiering;
  if (options.config.cache_eviction == EvictionKind::cost_aware) {
    result.recompute = policy::recompute_cost(*timer, options.config.block_size);
  }
  result.tiering.timer = std::move(timer);
  result.reserve_at_once = options.reserve_at_once;
  result.adapter_load = options.adapter_load;
  result.groups = options.groups;
  return result;
}

template <class T>
void move_to(std::vector<T>& from, std::vector<T>& to) {
  if (from.empty()) {
    return;  // most often
  }
  if (to.empty()) {
    from.swap(to);
    return;
  }
  to.insert(to.end(), from.begin(), from.end());
  from.clear();
}

}  // namespace

/// The step in progress of all ranks of a worker, which begin and end it together. A run is one
/// step, or several decode steps in which nothing can change at any rank. `ends` has the end of
/// each of its steps; `begun` of them are begun in the schedulers' books, the others follow when
/// somebody looks (sync) or the run ends.
struct Engine::Lockstep {
  bool active() const { return !ends.empty(); }
  void start(SimTime now);
  void foresee(SimTime now);
  Duration stall_of(const policy::Scheduler& scheduler) const;
  void finish();
  void catch_up(SimTime now);
  void split(SimTime now);
  void sync(SimTime now);
  void begin_more(std::size_t count);
  void cut(SimTime now, bool needed);

  std::shared_ptr<const perf::StepTimer> timer;
  std::shared_ptr<const perf::ImageTimer> image_timer;
  bool forward = false;
  std::vector<Impl*> ranks;
  SimTime latest{};           ///< of any call to any rank
  SimTime began{};            ///< of the run
  std::vector<SimTime> ends;  ///< empty: idle
  std::size_t begun = 0;
  std::optional<SimTime> ready;  ///< idle with work: when the step before ended
  std::int64_t longest_run = kShortestRun;
  std::vector<std::pair<perf::StepBatch, const policy::Scheduler*>> batches;  ///< scratch
};

/// One rank: a scheduler and its cache.
struct Engine::Impl {
  Impl(EngineOptions given, std::shared_ptr<Lockstep> with)
      : options(std::move(given)),
        lockstep(std::move(with)),
        scheduler(scheduler_options(options, lockstep->timer)),
        tells_tiers(std::any_of(options.tiering.tiers.levels.begin(),
                                options.tiering.tiers.levels.end(),
                                [](const kvbm::TierLevel& level) { return level.tells; })) {
    lockstep->ranks.push_back(this);
  }
  ~Impl() { std::erase(lockstep->ranks, this); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  /// Takes part in the step in progress.
  bool steps_along() const { return !scheduler.batch().empty(); }
  void publish_events() {
    if (options.publish_kv_events) {
      move_to(scheduler.kv_events(), pending.kv_events);
    }
    move_to(scheduler.tier_transfers(), pending.tier_transfers);
  }
  void hand_out(Outcome& outcome);
  /// Something may have happened at `at` that the driver must see.
  void note(SimTime at) {
    if (!due && !pending.empty()) {
      due = at;
    }
  }

  EngineOptions options;
  std::shared_ptr<Lockstep> lockstep;
  policy::Scheduler scheduler;
  const bool tells_tiers;      ///< events of its own lower tiers
  Outcome pending;             ///< not yet handed out
  std::optional<SimTime> due;  ///< since when something waits in there that a driver must see
  GapCounts gaps;
  std::int64_t steps = 0;  ///< ended
};

/// Begins a step at `now`, and foresees those that must follow.
void Engine::Lockstep::start(SimTime now) {
  ready.reset();
  bool any = false;
  for (Impl* rank : ranks) {
    if (!rank->scheduler.has_work()) {
      continue;
    }
    std::int64_t before = 0;
    do {  // again where a preemption has emptied the batch
      before = rank->scheduler.preemptions();
      rank->scheduler.begin_step(now, rank->pending);
    } while (rank->scheduler.batch().empty() && rank->scheduler.preemptions() > before);
    if (rank->scheduler.batch().empty()) {
      rank->publish_events();
    } else {
      any = true;
    }
    rank->note(now);
  }
  if (any) {
    foresee(now);
  }
}

/// How much longer the first step of a run is for what it does beside the model's layers.
Duration Engine::Lockstep::stall_of(const policy::Scheduler& scheduler) const {
  const perf::ImageBatch& images = scheduler.image_batch();
  return scheduler.adapter_load() + (images.empty() ? Duration{0} : image_timer->time(images));
}

/// Computes the ends of the run that begins at `now`. Every step takes as long as that of the
/// slowest rank; ranks without a batch wait for the others.
void Engine::Lockstep::foresee(SimTime now) {
  began = now;
  begun = 1;
  std::int64_t count = forward ? longest_run : 1;
  batches.clear();
  for (const Impl* rank : ranks) {
    if (rank->steps_along()) {
      count = std::min(count, rank->scheduler.quiet_steps());
      batches.push_back({rank->scheduler.batch(), &rank->scheduler});
    }
  }
  SimTime end = now;
  for (std::int64_t i = 0; i < count; ++i) {
    Duration longest{0};
    for (auto& [batch, scheduler] : batches) {
      const Duration stall = i == 0 ? stall_of(*scheduler) : Duration{0};
      longest = std::max(longest, stall + timer->step_time(batch));
      batch.decode_context += batch.decode_sequences * scheduler->growth(i);
    }
    DYN_ASSERT(longest.count() > 0, "a step takes time");
    end += longest;
    ends.push_back(end);
  }
}

/// Ends the run: its last step is over.
void Engine::Lockstep::finish() {
  begin_more(ends.size() - begun);
  const SimTime end = ends.back();
  const SimTime last_began = ends.size() > 1 ? ends[ends.size() - 2] : began;
  for (Impl* rank : ranks) {
    if (!rank->steps_along()) {
      continue;
    }
    const std::int64_t continued = rank->scheduler.end_step(end, rank->pending);
    rank->gaps.add(end - last_began, continued);
    for (const Duration gap : rank->scheduler.resumed_gaps()) {
      rank->gaps.add(gap, 1);
    }
    ++rank->steps;
    rank->publish_events();
    rank->note(end);
  }
  if (static_cast<std::int64_t>(ends.size()) == longest_run) {
    longest_run = std::min(2 * longest_run, kLongestRun);
  }
  ends.clear();
}

/// Finishes the steps that ended at or before `now` and begins those that follow before it. One
/// that would begin right at `now` is begun by advance(), with all that this instant brings.
void Engine::Lockstep::catch_up(SimTime given) {
  const SimTime now = latest = std::max(latest, given);
  split(now);
  while (active() ? ends.back() <= now : ready && *ready < now) {
    if (!active()) {
      start(*ready);
      split(now);
      continue;
    }
    const SimTime end = ends.back();
    finish();
    if (std::any_of(ranks.begin(), ranks.end(),
                    [](const Impl* rank) { return rank->scheduler.has_work(); })) {
      ready = end;
    }
  }
}

/// Ends the run at `now` if one of its steps ends then.
void Engine::Lockstep::split(SimTime now) {
  if (ends.size() < 2 || now >= ends.back()) {
    return;
  }
  const auto end = std::lower_bound(ends.begin(), ends.end(), now);
  if (*end == now) {
    ends.erase(end + 1, ends.end());
  }
}

/// Begins those steps of the run that begin at or before `now`.
void Engine::Lockstep::sync(SimTime now) {
  if (!active() || ends.size() == begun || ends[begun - 1] > now) {
    return;
  }
  const auto past = std::upper_bound(ends.begin(), ends.end(), now);
  const std::size_t begin = std::min<std::size_t>(past - ends.begin() + 1, ends.size());
  // The events of all but the step in progress are out.
  begin_more(begin - 1 - begun);
  for (Impl* rank : ranks) {
    rank->publish_events();
  }
  begin_more(1);
}

/// Ends the step in progress, a decode step, and does `count` more, but for the end of the last.
void Engine::Lockstep::begin_more(std::size_t count) {
  if (count == 0) {
    return;
  }
  const SimTime first_end = ends[begun - 1];
  for (Impl* rank : ranks) {
    if (!rank->steps_along()) {
      continue;
    }
    const std::int64_t continued = rank->scheduler.batch().decode_sequences;
    SimTime from = begun > 1 ? ends[begun - 2] : began;
    for (std::size_t i = 0; i < count; ++i) {
      const SimTime end = ends[begun - 1 + i];
      rank->gaps.add(end - from, continued);
      from = end;
    }
    rank->scheduler.repeat(static_cast<std::int64_t>(count), first_end, rank->pending);
    rank->steps += static_cast<std::int64_t>(count);
  }
  begun += count;
}

/// Ends the run with the step in progress at `now`, if what happened may change the next.
void Engine::Lockstep::cut(SimTime now, bool needed) {
  if (!needed || ends.size() <= 1) {
    return;
  }
  const auto current = std::upper_bound(ends.begin(), ends.end(), now);
  const auto kept = static_cast<std::size_t>(current - ends.begin()) + 1;
  if (kept < ends.size()) {
    ends.resize(kept);
    longest_run = std::clamp(2 * static_cast<std::int64_t>(kept), kShortestRun, kLongestRun);
  }
}

void Engine::Impl::hand_out(Outcome& outcome) {
  due.reset();
  if (tells_tiers) {
    scheduler.take_tier_events(pending.kv_events);
  }
  move_to(scheduler.tier_transfers(), pending.tier_transfers);
  move_to(pending.admitted, outcome.admitted);
  move_to(pending.tokens, outcome.tokens);
  move_to(pending.prefilled, outcome.prefilled);
  move_to(pending.kv_wanted, outcome.kv_wanted);
  move_to(pending.preempted, outcome.preempted);
  move_to(pending.kv_events, outcome.kv_events);
  move_to(pending.tier_transfers, outcome.tier_transfers);
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Engine::Engine(const EngineOptions& options, std::shared_ptr<const perf::StepTimer> timer) {
  auto lockstep = std::make_shared<Lockstep>();
  lockstep->timer = std::move(timer);
  lockstep->image_timer = options.image_timer;
  lockstep->forward = options.stepping == Stepping::fast_forward;
  impl_ = std::make_unique<Impl>(options, std::move(lockstep));
}

Engine Engine::another_rank(const EngineOptions& options) {
  return Engine(std::make_unique<Impl>(options, impl_->lockstep));
}

Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

std::optional<errc> Engine::why_impossible(const EngineRequest& request) const {
  const EngineConfig& config = impl_->options.config;
  const bool prefill_only = impl_->options.role == WorkerRole::prefill;
  const std::int64_t output = prefill_only ? 1 : request.max_output_tokens;
  const std::int64_t length = request.prompt_tokens + output;
  if (config.max_model_len && length > *config.max_model_len) {
    return errc::prompt_exceeds_context;
  }
  // A preemption may leave all but the last token to be computed in one step.
  if (!config.chunked_prefill && length - 1 > config.max_num_batched_tokens) {
    return errc::prompt_exceeds_context;
  }
  if (!impl_->scheduler.fits(request)) {
    return errc::prompt_exceeds_cache;
  }
  return std::nullopt;
}

void Engine::submit(const EngineRequest& request, SimTime now) {
  DYN_ASSERT(!why_impossible(request), "the request cannot run here");
  impl_->lockstep->catch_up(now);
  const bool reserves = impl_->options.reserve_at_once && request.remote_prefill;
  if (reserves || impl_->options.tiering.prefetch) {
    impl_->lockstep->sync(now);  // both depend on what is in the device by now
  }
  impl_->scheduler.submit(request);
  if (reserves) {
    impl_->scheduler.reserve(now, impl_->pending);
    impl_->note(now);
  }
  impl_->lockstep->cut(now, reserves || impl_->scheduler.may_admit());
}

void Engine::cancel(RequestId id, SimTime now) {
  impl_->lockstep->catch_up(now);
  impl_->lockstep->sync(now);
  const bool in_batch = impl_->scheduler.cancel(id);
  impl_->lockstep->cut(now, in_batch || impl_->scheduler.may_admit());
}

void Engine::kv_received(RequestId id, SimTime now) {
  impl_->lockstep->catch_up(now);
  impl_->scheduler.kv_received(id);
  impl_->lockstep->cut(now, impl_->scheduler.may_admit());
}

void Engine::release_held(RequestId id, SimTime now) {
  impl_->lockstep->catch_up(now);
  impl_->lockstep->sync(now);
  impl_->scheduler.release_held(id);
  impl_->lockstep->cut(now, impl_->scheduler.may_admit());
}

void Engine::transfer_done(kvbm::TierTransferId id, SimTime now) {
  impl_->lockstep->catch_up(now);
  impl_->lockstep->sync(now);
  impl_->scheduler.transfer_done(id, now);
  impl_->lockstep->cut(now, impl_->scheduler.may_admit());
}

void Engine::give_up_transfers(SimTime now) {
  impl_->lockstep->catch_up(now);
  impl_->lockstep->sync(now);
  impl_->scheduler.give_up_transfers();
  impl_->lockstep->cut(now, impl_->scheduler.may_admit());
}

const kvbm::Tiers* Engine::tiers() const {
  return impl_->scheduler.tiers();
}

const policy::AdapterUse& Engine::adapter_use() const {
  return impl_->scheduler.adapter_use();
}

std::int64_t Engine::tokens_wanted(RequestId id) const {
  return impl_->scheduler.tokens_wanted(id);
}

void Engine::retime(SimTime now) {
  impl_->lockstep->catch_up(now);
  impl_->lockstep->cut(now, true);
}

policy::Scheduler::Progress Engine::progress(RequestId id, SimTime now) const {
  impl_->lockstep->catch_up(now);
  impl_->lockstep->sync(now);
  return impl_->scheduler.progress(id);
}

void Engine::settle(SimTime now, Outcome& outcome) {
  impl_->lockstep->catch_up(now);
  if (impl_->options.publish_kv_events) {
    impl_->lockstep->sync(now);
  }
  impl_->hand_out(outcome);
}

void Engine::advance(SimTime now, Outcome& outcome) {
  impl_->lockstep->catch_up(now);
  if (!impl_->lockstep->active() && impl_->scheduler.has_work()) {
    impl_->lockstep->start(impl_->lockstep->latest);
  }
  if (impl_->options.publish_kv_events) {
    impl_->lockstep->sync(now);
  }
  impl_->hand_out(outcome);
}

std::optional<SimTime> Engine::next_event() const {
  if (impl_->due) {
    return impl_->due;
  }
  const Lockstep& lockstep = *impl_->lockstep;
  if (!impl_->scheduler.has_work() && !impl_->steps_along()) {
    return std::nullopt;
  }
  return lockstep.active() ? std::optional(lockstep.ends.back()) : lockstep.ready;
}

std::optional<SimTime> Engine::step_end() const {
  const Lockstep& lockstep = *impl_->lockstep;
  return lockstep.active() ? std::optional(lockstep.ends[lockstep.begun - 1]) : std::nullopt;
}

SimTime Engine::quiet_until() const {
  return impl_->pending.kv_events.empty() ? step_end().value_or(SimTime::max())
                                          : impl_->lockstep->latest;
}

EngineLoad Engine::load(SimTime now) const {
  impl_->lockstep->catch_up(now);
  impl_->lockstep->sync(now);
  EngineLoad load;
  load.running = impl_->scheduler.running();
  load.waiting = impl_->scheduler.waiting();
  load.used_blocks = impl_->scheduler.used_blocks();
  load.cached_blocks = impl_->scheduler.cached_blocks();
  load.total_blocks = impl_->scheduler.total_blocks();
  load.steps = impl_->steps;
  load.preemptions = impl_->scheduler.preemptions();
  return load;
}

EngineUse Engine::use(SimTime now) const {
  const Lockstep& lockstep = *impl_->lockstep;
  EngineUse use;
  use.running = impl_->scheduler.running();
  use.waiting = impl_->scheduler.waiting();
  use.used_blocks = impl_->scheduler.used_blocks();
  use.total_blocks = impl_->scheduler.total_blocks();
  if (lockstep.active() && impl_->steps_along()) {
    const auto ended = std::lower_bound(lockstep.ends.begin(), lockstep.ends.end(), now);
    const std::int64_t steps = std::min<std::int64_t>(
        ended - lockstep.ends.begin(), static_cast<std::int64_t>(lockstep.ends.size()) - 1);
    const std::int64_t more = steps + 1 - static_cast<std::int64_t>(lockstep.begun);
    use.used_blocks += more > 0 ? impl_->scheduler.blocks_ahead(more) : 0;
  }
  return use;
}

std::vector<GapCount> Engine::token_gaps() const {
  return impl_->gaps.sorted();
}

void Engine::check_invariants() const {
  impl_->scheduler.check_invariants();
}

}  // namespace dyn::engine
