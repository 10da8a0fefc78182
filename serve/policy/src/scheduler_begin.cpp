#include <algorithm>

#include "dyn/core/check.h"
#include "scheduler_impl.h"

namespace dyn::policy {

void Scheduler::Impl::begin_step(SimTime now, Outcome& outcome) {
  const std::size_t events = context().events().size();
  choose_batch(now, outcome);
  note_evictions(events);
}

void Scheduler::Impl::choose_batch(SimTime now, Outcome& outcome) {
  batch = {};
  adapter_load = Duration{0};
  image_batch = {};
  charged = 0;
  reserved = 0;
  completing.clear();
  fresh_states.clear();
  preempted = false;
  paused = false;
  if (had_prefill) {
    blocked = false;
  }
  if (split) {
    slide_windows();
  }
  if (separate) {
    if (habits.longest_prefix_first && running.size < max_running && may_try()) {
      order_waiting();
    }
    place_partial();
    if (partial == kNoSlot) {
      admit(now, outcome);
    }
    if (!batch.empty()) {
      pause_decodes(now);
      return;
    }
    retract(now, outcome);
    place_decodes();
    return;
  }
  if (habits.retracts) {
    retract(now, outcome);
  }
  make_room(now, outcome);
  place_decodes();
  place_partial();
  if (!preempted && partial == kNoSlot) {
    admit(now, outcome);
  }
}

/// The next chunk of the prompt that the budget cut off; where steps compute prompts only, as much
/// of it as there is room for.
void Scheduler::Impl::place_partial() {
  if (partial == kNoSlot) {
    return;
  }
  const Slot slot = partial;
  const Request& request = requests[slot];
  const std::int64_t owned = static_cast<std::int64_t>(request.named.size()) + request.nameless;
  const std::int64_t room =
      (owned + free_blocks()) * block_size - request.computed - decodes.drafts();
  const std::int64_t most = separate ? std::min(budget(), room) : budget();
  const bool goes_on = groups.linear == 0 || chunk_tokens(slot, request.computed, most) > 0;
  if (goes_on && (!separate || most >= page || most >= request.known() - request.computed)) {
    partial = kNoSlot;
    DYN_ASSERT(place_chunk(slot, most), "room was made for it");
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

/// Preempts until those that stay have the blocks that they need in this step.
void Scheduler::Impl::make_room(SimTime now, Outcome& outcome) {
  while (pages_a_block() * decodes.blocks_needed() + blocks_for_partial() > free_blocks()) {
    preempt(least_urgent(), now, outcome);
  }
}

/// Blocks that the next chunk of the prompt that was cut off needs beside all that decode.
std::int64_t Scheduler::Impl::blocks_for_partial() const {
  if (partial == kNoSlot) {
    return 0;
  }
  const Request& request = requests[partial];
  const std::int64_t most =
      options.config.max_num_batched_tokens - decodes.count() * (1 + decodes.drafts());
  const std::int64_t end = groups.linear > 0
                               ? request.computed + chunk_tokens(partial, request.computed, most)
                               : std::min(request.known(), request.computed + most);
  if (end <= request.computed) {
    return 0;
  }
  const std::int64_t filled = end + (end == request.known() ? decodes.drafts() : 0);
  const std::int64_t owned = static_cast<std::int64_t>(request.named.size()) + request.nameless;
  return groups.whole * std::max<std::int64_t>(blocks_for(filled) - owned, 0) +
         (split ? group_need(partial, filled) : 0);
}

/// Who is preempted first: the last admitted, or with priorities the least urgent that runs.
Slot Scheduler::Impl::least_urgent() const {
  Slot least = running.tail;
  if (options.config.queue == QueuePolicy::priority) {
    for (Slot slot = running.head; slot != kNoSlot; slot = requests[slot].next) {
      least = more_urgent(requests[least], requests[slot]) ? slot : least;
    }
  }
  return least;
}

/// Gives every decoding request the blocks that it needs for this step's tokens.
void Scheduler::Impl::place_decodes() {
  take_for_decodes(decodes.blocks_needed());
  batch.decode_sequences = static_cast<std::int32_t>(decodes.count());
  batch.sampled = batch.decode_sequences;
  batch.decode_context = decodes.context();
}

/// A running request goes back to the queue, without its blocks.
void Scheduler::Impl::preempt(Slot slot, SimTime now, Outcome& outcome) {
  Request& request = requests[slot];
  if (request.state == State::decoding) {
    request.produced = request.base + decodes.made() - request.spec.prompt_tokens;
    request.last_token = now;
    leave_decodes(slot);
    request.computed = request.known() - 1;
  }
  if (!habits.retracts) {
    keep(slot, request.computed);
  }
  release_blocks(slot);
  stop_running(slot);
  if (partial == slot) {
    partial = kNoSlot;
  }
  request.state = State::waiting;
  request.computed = 0;
  request.remote = false;
  request.loads.done = false;
  if (options.config.queue == QueuePolicy::priority || habits.retracts) {
    enqueue(slot);
  } else {
    waiting.push_front(requests, slot);
  }
  blocked = false;
  preempted = true;
  ++preemptions;
  outcome.preempted.push_back(request.spec.id);
}

/// Schedules the next chunk of a running request's prompt; false if the blocks do not suffice.
bool Scheduler::Impl::place_chunk(Slot slot, std::int64_t most) {
  Request& request = requests[slot];
  const std::int64_t prior = request.computed;
  const std::int64_t tokens = chunk_tokens(slot, prior, most);
  const std::int64_t owned = static_cast<std::int64_t>(request.named.size()) + request.nameless;
  const bool completes = prior + tokens == request.known();
  const std::int64_t filled = prior + tokens + (completes ? decodes.drafts() : 0);
  const std::int64_t need = std::max<std::int64_t>(blocks_for(filled) - owned, 0);
  if (groups.whole * need + (split ? group_need(slot, filled) : 0) > free_blocks()) {
    return false;
  }
  if (split) {
    take_groups(slot, filled);
  }
  context().take(static_cast<std::uint64_t>(need));
  request.nameless += need;
  request.computed = prior + tokens;
  encode_images(request, prior, request.computed);
  publish_prompt(slot, request.computed, completes);
  charge(request, tokens, completes);
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
void Scheduler::Impl::publish_prompt(Slot slot, std::int64_t tokens, bool completes) {
  if (!options.config.prefix_caching) {
    return;
  }
  if (split) {
    publish_groups(slot, tokens, completes);
  }
  Request& request = requests[slot];
  const auto& blocks = request.spec.blocks;
  const std::uint32_t begin = request.named.size();
  const std::int64_t end = std::min<std::int64_t>(blocks.size(), tokens / block_size);
  if (end > begin) {
    context().publish(blocks, begin, static_cast<std::uint32_t>(end), request.named);
    request.nameless -= end - begin;
    if (tiers != nullptr) {
      computed.push_back({slot, begin, static_cast<std::uint32_t>(end)});
    }
  }
}

void Scheduler::Impl::admit(SimTime now, Outcome& outcome) {
  while (running.size < max_running && budget() > 0 && partial == kNoSlot) {
    const Slot arrived = first_of(received);
    if (arrived != kNoSlot) {
      join_received(arrived, now, outcome);
    } else if (!admit_waiting(now, outcome)) {
      break;
    }
  }
}

/// A request whose prompt was computed elsewhere: only its last token is computed again.
void Scheduler::Impl::join_received(Slot slot, SimTime now, Outcome& outcome) {
  received.remove(requests, slot);
  Request& request = requests[slot];
  publish_prompt(slot, request.spec.prompt_tokens, true);
  blocked = false;
  request.computed = request.spec.prompt_tokens - 1;
  enter_batch(slot, now, outcome);
  DYN_ASSERT(place_chunk(slot, 1), "the blocks of a received prompt were reserved");
  request.remote = false;
}

/// Admits the head of the queue, or the first whose adapter may join; false if there is none or it
/// does not fit.
bool Scheduler::Impl::admit_waiting(SimTime now, Outcome& outcome) {
  if (!may_try()) {
    return false;
  }
  const Slot slot = first_of(waiting);
  if (slot == kNoSlot) {  // until an adapter is left, or a request of another comes
    block({});
    return false;
  }
  Request& request = requests[slot];
  const std::int64_t known = request.known();
  const std::int64_t reusable = options.config.prefix_caching ? (known - 1) / block_size : 0;
  kvbm::BlockPool::Match match =
      context().match(request.spec.blocks, static_cast<std::uint32_t>(reusable), found);
  if (tiers != nullptr && !request.remote) {
    const LoadStart start = load(slot, match, now);
    if (start != LoadStart::none) {
      blocked = start == LoadStart::no_room;
      return !blocked;
    }
  }
  found_kept.clear();
  if (request.kept > 0 && match.blocks == request.spec.blocks.size()) {
    const kvbm::BlockPool::Match kept = match_kept(request, reusable - match.blocks);
    match.blocks += kept.blocks;
    match.idle += kept.idle;
  }
  if (split && !cut_to_groups(slot, match)) {
    block({});
    return false;
  }
  const std::int64_t cached = match.blocks * block_size;
  const std::int64_t left = budget();
  const bool cut = !request.remote && known - cached > left;
  const std::int64_t tokens = split ? chunk_tokens(slot, cached, left) : left;
  if (cut && (!options.config.chunked_prefill || left < page || tokens == 0)) {
    block({});
    return false;
  }
  if (separate && charged > 0 &&
      (known - cached + page - 1) / page * page >= habits.most_prompt_tokens - charged) {
    block({});
    return false;
  }
  // All of it must fit, not only its first chunk (vLLM's scheduler_reserve_full_isl).
  const std::int64_t filled = cached + tokens + (cached + tokens == known ? decodes.drafts() : 0);
  const std::int64_t need = split ? admission_pages(request, match.blocks, filled)
                                  : blocks_for(known + decodes.drafts()) - match.blocks;
  if (need > free_blocks() - match.idle) {
    block({}, need + match.idle);
    return false;
  }
  if (!leaves_room(request, match) || !window_fits(request, cached)) {
    return false;
  }
  if (groups.window_pool > 0) {
    hold_window(request, window_to_admit(request, cached));
  }
  waiting.remove(requests, slot);
  context().acquire(found);
  context().acquire(found_kept);
  if (split) {
    acquire_groups(slot, match.blocks);
  }
  request.named = found;
  request.named.append(found_kept);
  request.nameless = 0;
  request.cached = cached;
  if (request.remote) {
    reserve_remote(slot, blocks_for(known + decodes.drafts()) - match.blocks, outcome);
    return true;
  }
  request.computed = cached;
  enter_batch(slot, now, outcome);
  DYN_ASSERT(place_chunk(slot, left), "the blocks were counted");
  return true;
}

void Scheduler::Impl::reserve_remote(Slot slot, std::int64_t need, Outcome& outcome) {
  Request& request = requests[slot];
  if (split) {
    take_groups(slot, request.known() + decodes.drafts());
  }
  context().take(static_cast<std::uint64_t>(need));
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
  if (adapters) {
    use_adapter(request);
  }
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
