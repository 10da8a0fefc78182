#include "dyn/engine/engine.h"

#include <algorithm>

#include "dyn/core/check.h"
#include "dyn/policy/scheduler.h"
#include "gap_counts.h"

namespace dyn::engine {

namespace {

// A run is cut short by the next arrival that matters, and then the step times computed beyond it
// were for nothing. So the longest run tried doubles while runs complete and shrinks to twice what
// was used when one is cut. This bounds the waste; it changes no time.
constexpr std::int64_t kShortestRun = 16;
constexpr std::int64_t kLongestRun = 4096;

policy::SchedulerOptions scheduler_options(const EngineOptions& options) {
  policy::SchedulerOptions result;
  result.config = options.config;
  result.role = options.role;
  result.every_token = options.stepping == Stepping::every_step;
  result.kv_events = options.publish_kv_events;
  return result;
}

template <class T>
void move_to(std::vector<T>& from, std::vector<T>& to) {
  to.insert(to.end(), from.begin(), from.end());
  from.clear();
}

}  // namespace

/// A run is one step, or several decode steps in which nothing can change. `ends` has the end of
/// each of its steps; `begun` of them are begun in the scheduler's books, the others follow when
/// somebody looks (sync) or the run ends.
struct Engine::Impl {
  Impl(EngineOptions given, std::shared_ptr<const perf::StepTimer> step_timer)
      : options(std::move(given)),
        timer(std::move(step_timer)),
        scheduler(scheduler_options(options)) {}

  bool active() const { return !ends.empty(); }
  void start(SimTime now, Outcome& outcome);
  void finish(Outcome& outcome);
  void catch_up(SimTime now, Outcome& outcome);
  void split(SimTime now);
  void hand_out(Outcome& outcome);
  void sync(SimTime now, Outcome& outcome);
  void begin_more(std::size_t steps, Outcome& outcome);
  void cut(SimTime now, bool needed);
  void publish_events(Outcome& outcome);

  EngineOptions options;
  std::shared_ptr<const perf::StepTimer> timer;
  policy::Scheduler scheduler;
  SimTime began{};            ///< of the run
  std::vector<SimTime> ends;  ///< empty: idle
  std::size_t begun = 0;
  std::optional<SimTime> ready;  ///< idle with work: when the step before ended
  std::int64_t longest_run = kShortestRun;
  Outcome pending;  ///< of steps finished by calls other than advance
  GapCounts gaps;
  std::int64_t steps = 0;  ///< ended
};

/// Begins a step at `now`, and foresees those that must follow.
void Engine::Impl::start(SimTime now, Outcome& outcome) {
  ready.reset();
  do {  // again where a preemption has emptied the batch
    scheduler.begin_step(now, outcome);
  } while (scheduler.batch().empty() && scheduler.may_admit());
  perf::StepBatch batch = scheduler.batch();
  if (batch.empty()) {
    publish_events(outcome);
    return;
  }
  began = now;
  begun = 1;
  const bool forward = options.stepping == Stepping::fast_forward;
  const std::int64_t count = forward ? std::min(scheduler.quiet_steps(), longest_run) : 1;
  SimTime end = now;
  for (std::int64_t i = 0; i < count; ++i) {
    const Duration time = timer->step_time(batch);
    DYN_ASSERT(time.count() > 0, "a step takes time");
    end += time;
    ends.push_back(end);
    batch.decode_context += batch.decode_sequences;
  }
}

/// Ends the run: its last step is over.
void Engine::Impl::finish(Outcome& outcome) {
  begin_more(ends.size() - begun, outcome);
  const SimTime end = ends.back();
  const SimTime last_began = ends.size() > 1 ? ends[ends.size() - 2] : began;
  const std::int64_t continued = scheduler.end_step(end, outcome);
  gaps.add(end - last_began, continued);
  for (const Duration gap : scheduler.resumed_gaps()) {
    gaps.add(gap, 1);
  }
  ++steps;
  publish_events(outcome);
  if (static_cast<std::int64_t>(ends.size()) == longest_run) {
    longest_run = std::min(2 * longest_run, kLongestRun);
  }
  ends.clear();
}

/// Finishes the steps that ended at or before `now` and begins those that follow before it. One
/// that would begin right at `now` is begun by advance(), with all that this instant brings.
void Engine::Impl::catch_up(SimTime now, Outcome& outcome) {
  split(now);
  while (active() ? ends.back() <= now : ready && *ready < now) {
    if (!active()) {
      start(*ready, outcome);
      split(now);
      continue;
    }
    const SimTime end = ends.back();
    finish(outcome);
    if (scheduler.has_work()) {
      ready = end;
    }
  }
}

/// Ends the run at `now` if one of its steps ends then.
void Engine::Impl::split(SimTime now) {
  if (ends.size() < 2 || now >= ends.back()) {
    return;
  }
  const auto end = std::lower_bound(ends.begin(), ends.end(), now);
  if (*end == now) {
    ends.erase(end + 1, ends.end());
  }
}

/// Begins those steps of the run that begin at or before `now`.
void Engine::Impl::sync(SimTime now, Outcome& outcome) {
  if (!active() || ends.size() == begun || ends[begun - 1] > now) {
    return;
  }
  const auto past = std::upper_bound(ends.begin(), ends.end(), now);
  const std::size_t begin = std::min<std::size_t>(past - ends.begin() + 1, ends.size());
  // The events of all but the step in progress are out.
  begin_more(begin - 1 - begun, outcome);
  publish_events(outcome);
  begin_more(1, outcome);
}

/// Ends the step in progress, a decode step, and does `count` more, but for the end of the last.
void Engine::Impl::begin_more(std::size_t count, Outcome& outcome) {
  if (count == 0) {
    return;
  }
  const std::int64_t continued = scheduler.batch().decode_sequences;
  SimTime from = begun > 1 ? ends[begun - 2] : began;
  const SimTime first_end = ends[begun - 1];
  for (std::size_t i = 0; i < count; ++i) {
    const SimTime end = ends[begun - 1 + i];
    gaps.add(end - from, continued);
    from = end;
  }
  scheduler.repeat(static_cast<std::int64_t>(count), first_end, outcome);
  begun += count;
  steps += static_cast<std::int64_t>(count);
}

/// Ends the run with the step in progress at `now`, if what happened may change the next.
void Engine::Impl::cut(SimTime now, bool needed) {
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

void Engine::Impl::publish_events(Outcome& outcome) {
  move_to(scheduler.kv_events(), outcome.kv_events);
}

Engine::Engine(EngineOptions options, std::shared_ptr<const perf::StepTimer> timer)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(timer))) {}
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
  impl_->catch_up(now, impl_->pending);
  impl_->scheduler.submit(request);
  impl_->cut(now, impl_->scheduler.may_admit());
}

void Engine::cancel(RequestId id, SimTime now) {
  impl_->catch_up(now, impl_->pending);
  impl_->sync(now, impl_->pending);
  const bool in_batch = impl_->scheduler.cancel(id);
  impl_->cut(now, in_batch || impl_->scheduler.may_admit());
}

void Engine::kv_received(RequestId id, SimTime now) {
  impl_->catch_up(now, impl_->pending);
  impl_->scheduler.kv_received(id);
  impl_->cut(now, impl_->scheduler.may_admit());
}

void Engine::release_held(RequestId id, SimTime now) {
  impl_->catch_up(now, impl_->pending);
  impl_->sync(now, impl_->pending);
  impl_->scheduler.release_held(id);
  impl_->cut(now, impl_->scheduler.may_admit());
}

std::int64_t Engine::tokens_wanted(RequestId id) const {
  return impl_->scheduler.tokens_wanted(id);
}

void Engine::Impl::hand_out(Outcome& outcome) {
  move_to(pending.admitted, outcome.admitted);
  move_to(pending.tokens, outcome.tokens);
  move_to(pending.prefilled, outcome.prefilled);
  move_to(pending.kv_wanted, outcome.kv_wanted);
  move_to(pending.preempted, outcome.preempted);
  move_to(pending.kv_events, outcome.kv_events);
}

void Engine::settle(SimTime now, Outcome& outcome) {
  impl_->hand_out(outcome);
  impl_->catch_up(now, outcome);
  if (impl_->options.publish_kv_events) {
    impl_->sync(now, outcome);
  }
}

void Engine::advance(SimTime now, Outcome& outcome) {
  settle(now, outcome);
  if (!impl_->active() && impl_->scheduler.has_work()) {
    impl_->start(now, outcome);
  }
}

std::optional<SimTime> Engine::next_event() const {
  return impl_->active() ? std::optional(impl_->ends.back()) : impl_->ready;
}

std::optional<SimTime> Engine::step_end() const {
  return impl_->active() ? std::optional(impl_->ends[impl_->begun - 1]) : std::nullopt;
}

EngineLoad Engine::load(SimTime now) const {
  impl_->catch_up(now, impl_->pending);
  impl_->sync(now, impl_->pending);
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

std::vector<GapCount> Engine::token_gaps() const {
  return impl_->gaps.sorted();
}

void Engine::check_invariants() const {
  impl_->scheduler.check_invariants();
}

}  // namespace dyn::engine
