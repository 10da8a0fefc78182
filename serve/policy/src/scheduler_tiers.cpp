#include <algorithm>

#include "dyn/core/check.h"
#include "dyn/policy/load_choice.h"
#include "scheduler_impl.h"

namespace dyn::policy {

/// How many of the blocks in `runs`, which follow the `cached` ones in the device, to load: up to
/// the end of one of the runs, whichever is predicted to have the prompt done first.
std::uint32_t Scheduler::Impl::worth_loading(const Request& request, std::uint32_t cached) {
  if (runs.empty()) {
    return 0;
  }
  const perf::StepTimer& timer = *options.tiering.timer;
  const std::int64_t budget = options.config.max_num_batched_tokens;
  const auto option = [&](std::uint32_t end, Duration load) {
    const std::int64_t prior = std::int64_t{end} * block_size;
    return LoadOption{end - cached, load,
                      prefill_time(timer, request.known() - prior, prior, budget)};
  };
  std::vector<LoadOption> choices{option(cached, Duration{0})};
  std::array<std::uint32_t, 3> blocks{};
  Duration load{0};
  for (const kvbm::Tiers::Run& run : runs) {
    std::uint32_t& of_level = blocks[run.level - 1];
    of_level += run.end - run.begin;
    load = std::max(load, tiers->predicted_read(run.level, of_level));
    choices.push_back(option(run.end, load));
  }
  return choices[choose_load(choices)].blocks;
}

/// Leaves of `runs` what lies before `end`.
void Scheduler::Impl::cut_runs(std::uint32_t end) {
  while (!runs.empty() && runs.back().begin >= end) {
    runs.pop_back();
  }
}

/// Begins to fetch a new request's blocks into the first tier, if they are worth it.
bool Scheduler::Impl::prefetch(Slot slot) {
  Request& request = requests[slot];
  const auto reusable = static_cast<std::uint32_t>((request.known() - 1) / block_size);
  const kvbm::BlockPool::Match match = pool.match(request.spec.blocks, reusable, found);
  tiers->lookup(request.spec.blocks, match.blocks, reusable, runs);
  cut_runs(match.blocks + worth_loading(request, match.blocks));
  if (!tiers->may_load(runs) || !tiers->prefetch(request.spec.id, prompt_of(request), runs)) {
    return false;
  }
  for (const kvbm::Tiers::Run& run : runs) {
    request.loads.fetched[run.level - 1] += run.level > 1 ? run.end - run.begin : 0;
  }
  request.state = State::fetching;
  fetching.push_back(requests, slot);
  return true;
}

/// What becomes of a request at the head of the queue, of which the device has `match`.
Scheduler::Impl::LoadStart Scheduler::Impl::load(Slot slot, const kvbm::BlockPool::Match& match,
                                                 SimTime now) {
  Request& request = requests[slot];
  if (request.loads.done) {
    return LoadStart::none;
  }
  const auto reusable = static_cast<std::uint32_t>((request.known() - 1) / block_size);
  tiers->lookup(request.spec.blocks, match.blocks, reusable, runs);
  const std::uint32_t blocks = worth_loading(request, match.blocks);
  cut_runs(match.blocks + blocks);
  if (blocks == 0 || !tiers->may_load(runs)) {
    return LoadStart::none;
  }
  if (blocks > free_blocks() - match.idle) {
    block({});
    return LoadStart::no_room;
  }
  if (!leaves_room(request, match)) {
    return LoadStart::no_room;
  }
  waiting.remove(requests, slot);
  pool.acquire(found);
  pool.take(blocks);
  request.named = found;
  request.nameless = blocks;
  request.state = State::loading;
  request.loads.since = now;
  request.loads.end = match.blocks + blocks;
  request.loads.loaded = {};
  for (const kvbm::Tiers::Run& run : runs) {
    request.loads.loaded[run.level - 1] += run.end - run.begin;
  }
  loading.push_back(requests, slot);
  DYN_ASSERT(tiers->load(request.spec.id, prompt_of(request), runs), "a load moves blocks");
  return LoadStart::begun;
}

/// The blocks of a request have arrived: they are cached, and it queues again.
void Scheduler::Impl::loaded(Slot slot) {
  Request& request = requests[slot];
  const std::uint32_t begin = request.named.size();
  pool.publish(request.spec.blocks, begin, request.loads.end, request.named);
  hold_for(tiers->stored(prompt_of(request), begin, request.loads.end), request, request.loads.end);
  pool.release(request.named, 0);
  request.named.clear();
  request.nameless = 0;
  loading.remove(requests, slot);
  queue_again(slot);
}

/// Puts a request that waited for a tier where it was in the queue.
void Scheduler::Impl::queue_again(Slot slot) {
  Request& request = requests[slot];
  request.loads.done = request.loads.done || request.state == State::loading;
  request.state = State::waiting;
  blocked = false;
  if (options.config.queue == QueuePolicy::priority) {
    return enqueue(slot);
  }
  Slot next = waiting.head;
  while (next != kNoSlot && requests[next].place < request.place) {
    next = requests[next].next;
  }
  waiting.insert(requests, slot, next);
}

/// A request is admitted for the first time: it uses its prompt's blocks.
void Scheduler::Impl::note_use(Request& request) {
  const auto cached = static_cast<std::uint32_t>(request.cached / block_size);
  hold_for(tiers->used(prompt_of(request), cached), request, cached);
}

/// What the step that ends has computed is written through.
void Scheduler::Impl::write_through() {
  for (const Computed& part : computed) {
    const Request& request = requests[part.slot];
    hold_for(tiers->stored(prompt_of(request), part.begin, part.end), request, part.end);
  }
  computed.clear();
}

/// Holds the first `end` blocks of a prompt, all in the device, until the transfer has read them.
void Scheduler::Impl::hold_for(std::optional<kvbm::TierTransferId> transfer, const Request& request,
                               std::uint32_t end) {
  if (transfer) {
    holds.push_back({*transfer, {}});
    pool.match(request.spec.blocks, end, holds.back().blocks);
    pool.acquire(holds.back().blocks);
  }
}

/// Tells the tiers what the device has evicted: the events from `begin` on.
void Scheduler::Impl::note_evictions(std::size_t begin) {
  if (tiers == nullptr) {
    return;
  }
  std::vector<kvbm::KvEvent>& events = pool.events();
  evicted.clear();
  for (std::size_t i = begin; i < events.size(); ++i) {
    const kvbm::BlockRange range = events[i].range();
    if (events[i].kind == kvbm::KvEvent::Kind::removed) {
      for (std::uint32_t block = range.end(); block-- > range.first;) {
        evicted.push_back(kvbm::nth_block(range.segment, block));
      }
    }
  }
  if (!evicted.empty()) {
    tiers->evicted(evicted);
  }
  if (!options.kv_events) {
    events.clear();
  }
}

/// Where the cached tokens of a request came from. What was fetched into the first tier counts
/// for the tier that it was fetched from.
void Scheduler::Impl::account(const Request& request, Admission& admission) const {
  std::array<std::uint32_t, 3> blocks = request.loads.loaded;
  // Some may have been evicted again before the request was admitted.
  const auto cached = static_cast<std::uint32_t>(request.cached / block_size);
  std::uint32_t lost = request.loads.end > cached ? request.loads.end - cached : 0;
  for (std::size_t level = blocks.size(); level-- > 0;) {
    const std::uint32_t taken = std::min(lost, blocks[level]);
    blocks[level] -= taken;
    lost -= taken;
  }
  for (std::size_t level = 1; level < blocks.size(); ++level) {
    const std::uint32_t fetched = std::min(request.loads.fetched[level], blocks[0]);
    blocks[0] -= fetched;
    blocks[level] += fetched;
  }
  for (std::size_t level = 0; level < blocks.size(); ++level) {
    admission.tier_tokens[level] = std::int64_t{blocks[level]} * block_size;
  }
  admission.load_time = request.loads.time;
}

void Scheduler::transfer_done(kvbm::TierTransferId id, SimTime now) {
  Impl& s = *impl_;
  const auto hold = std::find_if(s.holds.begin(), s.holds.end(),
                                 [id](const Impl::Hold& h) { return h.transfer == id; });
  if (hold != s.holds.end()) {
    s.pool.release(hold->blocks, 0);
    s.holds.erase(hold);
    s.blocked = false;
  }
  const kvbm::Tiers::Finished finished = s.tiers->finish(id);
  const Slot slot = finished.loaded ? s.requests.find(*finished.loaded) : kNoSlot;
  if (slot == kNoSlot) {
    return;
  }
  Request& request = s.requests[slot];
  if (request.state == State::loading) {
    request.loads.time += now - request.loads.since;
    s.loaded(slot);
  } else {
    s.fetching.remove(s.requests, slot);
    s.queue_again(slot);
  }
}

void Scheduler::give_up_transfers() {
  Impl& s = *impl_;
  if (s.tiers == nullptr) {
    return;
  }
  s.tiers->give_up_all();
  for (Impl::Hold& hold : s.holds) {
    s.pool.release(hold.blocks, 0);
  }
  s.holds.clear();
  while (!s.fetching.empty()) {
    const Slot slot = s.fetching.head;
    s.fetching.remove(s.requests, slot);
    s.queue_again(slot);
  }
  while (!s.loading.empty()) {
    const Slot slot = s.loading.head;
    s.release_blocks(slot);
    s.requests[slot].loads.loaded = {};
    s.loading.remove(s.requests, slot);
    s.queue_again(slot);
  }
  s.blocked = false;
}

void Scheduler::take_tier_events(std::vector<kvbm::KvEvent>& events) {
  if (impl_->tiers != nullptr) {
    impl_->tiers->take_events(events);
  }
}

std::vector<kvbm::TierTransfer>& Scheduler::tier_transfers() {
  return impl_->tiers != nullptr ? impl_->tiers->started() : impl_->no_transfers;
}

const kvbm::Tiers* Scheduler::tiers() const {
  return impl_->tiers.get();
}

}  // namespace dyn::policy
