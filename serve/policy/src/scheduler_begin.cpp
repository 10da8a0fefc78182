#include <algorithm>
#include <cmath>

#include "dyn/core/check.h"
#include "scheduler_impl.h"

namespace dyn::policy {

void Scheduler::Impl::begin_step(SimTime now, Outcome& outcome) {
  const std::size_t events = pool.events().size();
  choose_batch(now, outcome);
  note_evictions(events);
}

void Scheduler::Impl::choose_batch(SimTime now, Outcome& outcome) {
  batch = {};
  completing.clear();
  preempted = false;
  paused = false;
  if (had_prefill) {
    blocked = false;
  }
  if (habits.prefill_first && options.role != WorkerRole::decode) {
    place_partial(now, outcome);
    if (!preempted) {
      admit(now, outcome);
    }
    if (!batch.empty()) {
      pause_decodes(now);
      return;
    }
    place_decodes(now, outcome);
    return;
  }
  place_decodes(now, outcome);
  place_partial(now, outcome);
  if (!preempted) {
    admit(now, outcome);
  }
}

/// The next chunk of the prompt that the budget cut off.
void Scheduler::Impl::place_partial(SimTime now, Outcome& outcome) {
  if (partial == kNoSlot) {
    return;
  }
  const Slot slot = partial;
  partial = kNoSlot;
  if (!place_chunk(slot, options.config.max_num_batched_tokens - batch.tokens())) {
    preempt_last(now, outcome);
  }
}

/// The step computes prompts only: who decodes gets no token from it.
void Scheduler::Impl::pause_decodes(SimTime now) {
  paused = true;
  std::int64_t known = 0;
  for (const Pause& pause : pauses) {
    known += pause.count;
  }
  if (decodes.count() > known) {
    pauses.push_back({now, decodes.count() - known});
  }
}

/// Gives every decoding request the block it may need for this step's token.
void Scheduler::Impl::place_decodes(SimTime now, Outcome& outcome) {
  if (decodes.blocks_needed() <= free_blocks()) {
    pool.take(static_cast<std::uint64_t>(decodes.blocks_needed()));
  } else {
    for (Slot slot = running.head; slot != kNoSlot;) {
      const Request& request = requests[slot];
      const bool needs = request.state == State::decoding &&
                         (request.base + decodes.steps() - 1) % block_size == 0;
      bool survives = true;
      while (needs && survives && pool.free() == 0) {
        survives = running.tail != slot;
        preempt_last(now, outcome);
      }
      if (!survives) {
        break;
      }
      if (needs) {
        pool.take(1);
      }
      slot = requests[slot].next;
    }
  }
  batch.decode_sequences = static_cast<std::int32_t>(decodes.count());
  batch.sampled = batch.decode_sequences;
  batch.decode_context = decodes.context();
}

/// The request admitted last goes back to the head of the queue, without its blocks.
void Scheduler::Impl::preempt_last(SimTime now, Outcome& outcome) {
  const Slot slot = running.tail;
  Request& request = requests[slot];
  if (request.state == State::decoding) {
    request.produced = request.base + decodes.steps() - request.spec.prompt_tokens;
    request.last_token = now;
  }
  release_blocks(request);
  running.remove(requests, slot);
  if (partial == slot) {
    partial = kNoSlot;
  }
  relaxed_at = decodes.steps();
  request.state = State::waiting;
  request.computed = 0;
  request.remote = false;
  request.loads.done = false;
  waiting.push_front(requests, slot);
  blocked = false;
  preempted = true;
  ++preemptions;
  outcome.preempted.push_back(request.spec.id);
}

/// Schedules the next chunk of a running request's prompt; false if the blocks do not suffice.
bool Scheduler::Impl::place_chunk(Slot slot, std::int64_t budget) {
  Request& request = requests[slot];
  const std::int64_t prior = request.computed;
  const std::int64_t tokens = std::min(request.known() - prior, budget);
  const std::int64_t owned = static_cast<std::int64_t>(request.named.size()) + request.nameless;
  const std::int64_t need = std::max<std::int64_t>(blocks_for(prior + tokens) - owned, 0);
  if (need > free_blocks()) {
    return false;
  }
  pool.take(static_cast<std::uint64_t>(need));
  request.nameless += need;
  request.computed = prior + tokens;
  publish_prompt(request, request.computed);
  const bool completes = request.computed == request.known();
  if (completes && tokens == 1) {
    if (request.remote) {  // its prompt was computed elsewhere: it decodes
      batch.add_decode(request.computed);
    } else {
      batch.add_last_token(request.computed);
    }
  } else {
    batch.add_prefill(tokens, prior, completes);
  }
  if (completes) {
    completing.push_back(slot);
  } else {
    partial = slot;
  }
  return true;
}

/// Puts the request's full prompt blocks within its first `tokens` tokens under their hashes.
void Scheduler::Impl::publish_prompt(Request& request, std::int64_t tokens) {
  if (!options.config.prefix_caching) {
    return;
  }
  const auto& blocks = request.spec.blocks;
  const std::uint32_t begin = request.named.size();
  const std::int64_t end = std::min<std::int64_t>(blocks.size(), tokens / block_size);
  if (end > begin) {
    pool.publish(blocks, begin, static_cast<std::uint32_t>(end), request.named);
    request.nameless -= end - begin;
    if (tiers != nullptr) {
      computed.push_back({requests.find(request.spec.id), begin, static_cast<std::uint32_t>(end)});
    }
  }
}

void Scheduler::Impl::admit(SimTime now, Outcome& outcome) {
  while (running.size < max_running && batch.tokens() < options.config.max_num_batched_tokens) {
    const bool more = received.empty() ? admit_waiting(now, outcome) : join_received(now, outcome);
    if (!more) {
      break;
    }
  }
}

/// A request whose prompt was computed elsewhere: only its last token is computed again.
bool Scheduler::Impl::join_received(SimTime now, Outcome& outcome) {
  const Slot slot = received.head;
  received.remove(requests, slot);
  Request& request = requests[slot];
  publish_prompt(request, request.spec.prompt_tokens);
  blocked = false;
  request.computed = request.spec.prompt_tokens - 1;
  enter_batch(slot, now, outcome);
  DYN_ASSERT(place_chunk(slot, 1), "the blocks of a received prompt were reserved");
  request.remote = false;
  return true;
}

/// Admits the head of the queue; false if there is none or it does not fit.
bool Scheduler::Impl::admit_waiting(SimTime now, Outcome& outcome) {
  if (waiting.empty() || blocked) {
    return false;
  }
  const Slot slot = waiting.head;
  Request& request = requests[slot];
  const std::int64_t known = request.known();
  const std::int64_t reusable = options.config.prefix_caching ? (known - 1) / block_size : 0;
  const kvbm::BlockPool::Match match =
      pool.match(request.spec.blocks, static_cast<std::uint32_t>(reusable), found);
  if (tiers != nullptr && !request.remote) {
    const LoadStart start = load(slot, match, now);
    if (start != LoadStart::none) {
      blocked = start == LoadStart::no_room;
      return !blocked;
    }
  }
  const std::int64_t cached = match.blocks * block_size;
  const std::int64_t budget = options.config.max_num_batched_tokens - batch.tokens();
  std::int64_t end = known;
  if (!request.remote && known - cached > budget) {
    if (!options.config.chunked_prefill) {
      blocked = true;
      return false;
    }
    end = cached + budget;
  }
  const std::int64_t need = blocks_for(end) - match.blocks;
  const std::int64_t room = free_blocks() - match.idle;
  if (need > room || !leaves_room(request, room + match.blocks)) {
    blocked = true;
    return false;
  }
  waiting.remove(requests, slot);
  pool.acquire(found);
  request.named = found;
  request.nameless = 0;
  request.cached = cached;
  if (request.remote) {
    reserve_remote(slot, need, outcome);
    return true;
  }
  request.computed = cached;
  enter_batch(slot, now, outcome);
  DYN_ASSERT(place_chunk(slot, budget), "the blocks were counted");
  return true;
}

/// The part of its output still to come that a request counts for where others ask to be admitted.
double Scheduler::Impl::output_share() const {
  const auto relaxed = static_cast<double>(decodes.steps() - relaxed_at) / habits.relaxing_steps;
  return std::max(habits.least_share, habits.share - relaxed * (habits.share - habits.least_share));
}

/// Whether `request` can run beside all that runs, each with its share of the output to come, if
/// `room` blocks are free or its own.
bool Scheduler::Impl::leaves_room(const Request& request, std::int64_t room) {
  if (habits.share == 0 || options.role == WorkerRole::prefill) {
    return true;
  }
  if (running.empty()) {
    relaxed_at = decodes.steps();
  }
  const double share = running.empty() ? 1 : output_share();
  const std::int64_t in_progress = batch.decode_sequences > 0 && !habits.prefill_first ? 1 : 0;
  const auto to_come = [&](std::int64_t output) {
    // The last token is handed out without ever getting KV.
    const auto counted = static_cast<double>(std::min(output, habits.most_output)) * share;
    return std::max<std::int64_t>(static_cast<std::int64_t>(std::ceil(counted)) - 1, 0);
  };
  std::int64_t need =
      blocks_for(request.known() + to_come(request.spec.max_output_tokens - request.produced));
  for (const RequestList* list : {&running, &receiving, &received}) {
    for (Slot slot = list->head; slot != kNoSlot && need <= room; slot = requests[slot].next) {
      const Request& other = requests[slot];
      if (other.state == State::decoding) {
        const std::int64_t tokens = other.base + decodes.steps();
        need += blocks_for(tokens + to_come(other.finish - decodes.steps())) -
                blocks_for(tokens - 1 + in_progress);
      } else {
        need += blocks_for(other.known() + to_come(other.spec.max_output_tokens - other.produced)) -
                static_cast<std::int64_t>(other.named.size()) - other.nameless;
      }
    }
  }
  return need <= room;
}

void Scheduler::Impl::reserve_remote(Slot slot, std::int64_t need, Outcome& outcome) {
  Request& request = requests[slot];
  pool.take(static_cast<std::uint64_t>(need));
  request.nameless = need;
  request.state = State::receiving;
  request.order = next_order++;
  receiving.push_back(requests, slot);
  outcome.kv_wanted.push_back(request.spec.id);
}

void Scheduler::Impl::enter_batch(Slot slot, SimTime now, Outcome& outcome) {
  Request& request = requests[slot];
  request.state = State::prefilling;
  request.order = next_order++;
  running.push_back(requests, slot);
  if (!request.admitted) {
    request.admitted = true;
    outcome.admitted.push_back({request.spec.id, now, request.cached, {}, {}});
    if (tiers != nullptr) {
      account(request, outcome.admitted.back());
      note_use(request);
    }
  }
}

}  // namespace dyn::policy
