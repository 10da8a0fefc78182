#include <algorithm>
#include <functional>

#include "scheduler_impl.h"

namespace dyn::policy {

std::int64_t Scheduler::Impl::end_step(SimTime now, Outcome& outcome) {
  resumed_gaps.clear();
  had_prefill = partial != kNoSlot || !completing.empty();
  write_through();
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
    report_second(now, outcome);
  }
  finish_due(now, outcome);
  return continued;
}

void Scheduler::Impl::report_every(SimTime now, Outcome& outcome) {
  for (Slot slot = running.head; slot != kNoSlot; slot = requests[slot].next) {
    const Request& request = requests[slot];
    if (request.state == State::decoding) {
      const std::int64_t made = std::min(decodes.made(), request.finish);
      for (std::int64_t i = decodes.made(-1) + 1; i <= made; ++i) {
        outcome.tokens.push_back({request.spec.id, now,
                                  request.base + i - request.spec.prompt_tokens,
                                  i == request.finish});
      }
    }
  }
}

/// The second tokens of those who made their first in the step before; last ones are reported by
/// finish_due.
void Scheduler::Impl::report_second(SimTime now, Outcome& outcome) {
  for (const Fresh& entry : fresh) {
    const Request& request = requests[entry.slot];
    const bool there = request.state == State::decoding && request.order == entry.order;
    if (there && request.spec.max_output_tokens > 2) {
      outcome.tokens.push_back({request.spec.id, now, 2, false});
    }
  }
  fresh.clear();
}

/// Removes those who made their last token in this step, in order of admission.
void Scheduler::Impl::finish_due(SimTime now, Outcome& outcome) {
  due.clear();
  for (std::int64_t next = next_finish(); next >= 0 && next <= decodes.made();
       next = next_finish()) {
    due.push_back(finishes.front());
    std::pop_heap(finishes.begin(), finishes.end(), std::greater<>{});
    finishes.pop_back();
  }
  if (decodes.drafts() > 0) {  // then not all of them finish with the same token
    std::sort(due.begin(), due.end(),
              [](const Finish& a, const Finish& b) { return a.order < b.order; });
  }
  for (const Finish& finish : due) {
    const EngineRequest& spec = requests[finish.slot].spec;
    if (!options.every_token) {
      outcome.tokens.push_back({spec.id, now, spec.max_output_tokens, true});
    }
    remove(finish.slot);
  }
}

/// The request's prompt is computed: its first token (or, after a preemption, its next).
void Scheduler::Impl::complete_prefill(Slot slot, SimTime now, Outcome& outcome) {
  Request& request = requests[slot];
  if (groups.window_pool > 0) {
    hold_window(request, window_to_decode(request));
  }
  if (options.role == WorkerRole::prefill) {
    stop_running(slot);
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
  request.finish = decodes.made() + request.spec.max_output_tokens - request.produced;
  finish_sum += request.finish;
  long_outputs += request.spec.max_output_tokens > habits.most_output ? 1 : 0;
  finishes.push_back({request.finish, request.order, slot});
  std::push_heap(finishes.begin(), finishes.end(), std::greater<>{});
  if (split) {
    join_groups(slot);
  }
  if (request.produced == 1) {
    fresh.push_back({slot, request.order});
  }
}

/// The first of a heap whose request still decodes as it did then, or null: the others are dropped.
const Scheduler::Impl::Finish* Scheduler::Impl::soonest(std::vector<Finish>& heap) const {
  while (!heap.empty()) {
    const Request& request = requests[heap.front().slot];
    if (request.state == State::decoding && request.order == heap.front().order) {
      return &heap.front();
    }
    std::pop_heap(heap.begin(), heap.end(), std::greater<>{});
    heap.pop_back();
  }
  return nullptr;
}

/// What made() will be when the next decoding request finishes; none (-1) if none decodes.
std::int64_t Scheduler::Impl::next_finish() {
  const Finish* next = soonest(finishes);
  return next != nullptr ? next->made : -1;
}

}  // namespace dyn::policy
