#include <algorithm>
#include <functional>

#include "scheduler_impl.h"

namespace dyn::policy {

std::int64_t Scheduler::Impl::end_step(SimTime now, Outcome& outcome) {
  resumed_gaps.clear();
  had_prefill = partial != kNoSlot || !completing.empty();
  if (!paused) {
    decodes.advance(1);
  }
  for (const Slot slot : cancelled) {
    remove(slot);
  }
  cancelled.clear();
  const std::int64_t continued = paused ? 0 : end_decodes(now, outcome);
  for (const Slot slot : completing) {
    if (requests[slot].state == State::prefilling) {
      complete_prefill(slot, now, outcome);
    }
  }
  completing.clear();
  batch = {};
  if (running.empty() && waiting.empty()) {  // idle engines start afresh
    ratio_from = habits.share;
    ratio_since = decodes.steps();
  }
  return continued;
}

/// Hands out the tokens of those who decode; returns how many had one in the step before.
std::int64_t Scheduler::Impl::end_decodes(SimTime now, Outcome& outcome) {
  std::int64_t continued = decodes.count();
  for (const Pause& pause : pauses) {
    const std::int64_t resumed = std::min(pause.count, continued);
    resumed_gaps.insert(resumed_gaps.end(), static_cast<std::size_t>(resumed), now - pause.since);
    continued -= resumed;
  }
  pauses.clear();
  if (options.every_token) {
    report_every(now, outcome);
    fresh.clear();
  } else {
    report_second(now, decodes.steps(), outcome);
  }
  finish_due(now, outcome);
  return continued;
}

void Scheduler::Impl::report_every(SimTime now, Outcome& outcome) {
  for (Slot slot = running.head; slot != kNoSlot; slot = requests[slot].next) {
    const Request& request = requests[slot];
    if (request.state == State::decoding) {
      const std::int64_t produced = request.base + decodes.steps() - request.spec.prompt_tokens;
      outcome.tokens.push_back({request.spec.id, now, produced, request.finish == decodes.steps()});
    }
  }
}

/// The second tokens of those who made their first in the step before; `steps` have ended.
void Scheduler::Impl::report_second(SimTime now, std::int64_t steps, Outcome& outcome) {
  for (const Fresh& entry : fresh) {
    const Request& request = requests[entry.slot];
    const bool there = request.state == State::decoding && request.order == entry.order;
    if (there && request.finish != steps) {
      outcome.tokens.push_back({request.spec.id, now, 2, false});
    }
  }
  fresh.clear();
}

/// Removes those who made their last token in this step.
void Scheduler::Impl::finish_due(SimTime now, Outcome& outcome) {
  while (next_finish() == decodes.steps()) {
    const Slot slot = finishes.front().slot;
    std::pop_heap(finishes.begin(), finishes.end(), std::greater<>{});
    finishes.pop_back();
    const EngineRequest& spec = requests[slot].spec;
    if (!options.every_token) {
      outcome.tokens.push_back({spec.id, now, spec.max_output_tokens, true});
    }
    remove(slot);
  }
}

/// The request's prompt is computed: its first token (or, after a preemption, its next).
void Scheduler::Impl::complete_prefill(Slot slot, SimTime now, Outcome& outcome) {
  Request& request = requests[slot];
  if (options.role == WorkerRole::prefill) {
    running.remove(requests, slot);
    held.push_back(requests, slot);
    request.state = State::held;
    outcome.prefilled.push_back(request.spec.id);
    return;
  }
  if (request.produced > 0) {
    resumed_gaps.push_back(now - request.last_token);
  }
  ++request.produced;
  const bool finished = request.produced == request.spec.max_output_tokens;
  if (options.every_token || request.produced <= 2 || finished) {
    outcome.tokens.push_back({request.spec.id, now, request.produced, finished});
  }
  if (finished) {
    return remove(slot);
  }
  request.state = State::decoding;
  request.base = decodes.join(request.known());
  request.finish = decodes.steps() + request.spec.max_output_tokens - request.produced;
  finish_sum += request.finish;
  long_outputs += request.spec.max_output_tokens > habits.most_output ? 1 : 0;
  finishes.push_back({request.finish, request.order, slot});
  std::push_heap(finishes.begin(), finishes.end(), std::greater<>{});
  if (request.produced == 1) {
    fresh.push_back({slot, request.order});
  }
}

/// The step count at which the next decoding request finishes; none (-1) if none decodes.
std::int64_t Scheduler::Impl::next_finish() {
  while (!finishes.empty()) {
    const Finish& soonest = finishes.front();
    const Request& request = requests[soonest.slot];
    if (request.state == State::decoding && request.order == soonest.order) {
      return soonest.step;
    }
    std::pop_heap(finishes.begin(), finishes.end(), std::greater<>{});
    finishes.pop_back();
  }
  return -1;
}

}  // namespace dyn::policy
