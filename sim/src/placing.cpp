// Choosing workers: routers, what they know and hold, and what they tell each other.
#include <algorithm>

#include "dyn/core/check.h"
#include "dyn/policy/disaggregation.h"
#include "run.h"

namespace dyn::sim {
namespace {

std::int64_t blocks_of(std::int64_t tokens, int block_size) {
  return (tokens + block_size - 1) / block_size;
}

/// One round of SplitMix64's hash: which router a request meets.
std::uint64_t spread(std::uint64_t x) {
  x = (x + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
  return x ^ (x >> 31);
}

}  // namespace

/// Sends a request to the workers that will run it, or holds or refuses it.
void Run::place(std::uint32_t request) {
  mark(Mark::delivered, request, now_);
  if (needs_encoding(request)) {
    return encode(request);
  }
  Flight& flight = flights_[request];
  const auto count = static_cast<std::uint64_t>(flights_.size());
  const std::uint64_t id = request + count * flight.placings;
  DYN_ASSERT(id < 0xffffffffu, "a request is placed too often for its ids");
  flight.id = static_cast<std::uint32_t>(id);
  ++flight.placings;
  flight.stage = Stage::placed;
  flight.kv_sent = {};
  std::uint32_t pool = entry_pool_;
  std::optional<policy::router_errc> refused;
  if (disaggregated_ && prefill_locally(request)) {
    pool = decode_pool_;
    refused = submit(request, pool, false);
    history_.local_prefills += refused ? 0 : 1;
  } else {
    refused = submit(request, pool, false);
    if (!refused && disaggregated_ && plan_.disaggregation.hand_off == HandOff::push) {
      pool = decode_pool_;
      refused = submit(request, pool, true);
    }
  }
  if (refused) {
    placing_ = true;  // what it gives back it had for no time: nobody else could have had it
    withdraw(request);
    placing_ = false;
    hold_or_refuse(request, pool, *refused);
  }
}

bool Run::prefill_locally(std::uint32_t request) {
  const DisaggregationSpec& spec = plan_.disaggregation;
  if (!spec.ever_local()) {
    return false;
  }
  Pool& decode = fleet_.pools[decode_pool_];
  Pool& prefill = fleet_.pools[entry_pool_];
  if (plan_.router.event_delay == Duration{0}) {
    observe(decode);
  }
  const engine::EngineRequest asked = engine_request(decode, workload_, request);
  const std::uint32_t id = flights_[request].id;
  policy::PromptOutlook outlook;
  outlook.prompt_tokens = asked.prompt_tokens + flights_[request].base;
  outlook.cached_tokens =
      std::int64_t{decode.routers[router_of(decode, id)].most_cached(asked.blocks, now_)} *
      decode.block_size;
  outlook.prefill_queued =
      prefill.routers[router_of(prefill, id)].least_queued().value_or(0x7fffffff);
  return policy::prefill_locally(spec, outlook);
}

std::uint8_t Run::router_of(const Pool& pool, std::uint32_t id) const {
  return pool.routers.size() == 1 ? std::uint8_t{0}
                                  : static_cast<std::uint8_t>(spread(id) % pool.routers.size());
}

policy::RouteRequest Run::route_request(const Pool& pool,
                                        const engine::EngineRequest& request) const {
  policy::RouteRequest out;
  out.id = request.id;
  out.prompt_tokens = request.prompt_tokens;
  out.output_tokens = pool.role == WorkerRole::prefill ? 1 : request.max_output_tokens;
  out.blocks = request.blocks;
  out.adapter = request.adapter;
  out.session = std::uint64_t{workload_.session_of(request_of(request.id))} + 1;
  return out;
}

/// The request as an engine of `pool` gets it: with the tokens made elsewhere in its prompt.
engine::EngineRequest Run::request_at(const Pool& pool, std::uint32_t request, bool remote) const {
  const Flight& flight = flights_[request];
  engine::EngineRequest out = engine_request(pool, workload_, request);
  out.id = RequestId(flight.id);
  out.prompt_tokens += flight.base;
  out.remote_prefill = remote;
  out.future = tiering_.future(workload_, request, pool.block_size);
  if (pool.role != WorkerRole::prefill) {
    out.max_output_tokens -= flight.base;
  }
  return out;
}

/// Routes a request within a pool and queues it there; or says why not. `remote`: its KV comes from
/// a prefill worker.
std::optional<policy::router_errc> Run::submit(std::uint32_t request, std::uint32_t pool_index,
                                               bool remote) {
  Pool& pool = fleet_.pools[pool_index];
  Flight& flight = flights_[request];
  const engine::EngineRequest to_engine = request_at(pool, request, remote);
  // With the tokens made elsewhere its prompt may be too long here.
  if (flight.base > 0 && fleet_.engines[pool.first_engine].engine.why_impossible(to_engine)) {
    return policy::router_errc::overloaded;
  }
  if (plan_.router.event_delay == Duration{0}) {
    observe(pool);
  }
  tell_output(pool);
  read_mail(pool, now_);
  const std::uint8_t router = router_of(pool, flight.id);
  const policy::RouteRequest asked = route_request(pool, to_engine);
  const Result<policy::RouteChoice> choice = pool.routers[router].route(asked, now_);
  if (!choice) {
    return static_cast<policy::router_errc>(choice.error().value());
  }
  post(pool, RouterMail::Kind::booked, router, choice->worker, asked);
  note_choice(request, pool_index, *choice);
  const std::uint32_t engine = pool.first_engine + choice->worker.value();
  const auto worker = static_cast<std::int32_t>(choice->worker.value());
  if (pool.role == WorkerRole::prefill) {
    flight.prefill = Leg::computing;
    flight.prefill_engine = engine;
    flight.prefill_router = router;
    records_[request].prefill_worker = worker;
  } else {
    flight.decode = remote ? Leg::reserving : Leg::running;
    flight.engine = engine;
    flight.router = router;
    records_[request].worker = worker;
  }
  if (!remote) {
    flight.prompt_queued = true;
    pool.queued_tokens += to_engine.prompt_tokens;
  }
  ++pool.arrivals;
  pool.prompt_tokens += to_engine.prompt_tokens;
  mark(Mark::routed, request, now_, engine);
  ++fleet_.engines[engine].guests;
  if (!remote && !encoders_.empty() && encodings_[request].encoded) {
    (pool.role == WorkerRole::prefill ? flight.prefill : flight.decode) = Leg::awaiting;
    send_embeddings(request, engine);
  } else {
    fleet_.engines[engine].engine.submit(to_engine, now_);
    touch(engine);
  }
  expect_events(pool);
  return std::nullopt;
}

/// Whether a request that was refused may wait at the router.
bool Run::hold(std::uint32_t request, std::uint32_t pool_index, policy::router_errc why) {
  Pool& pool = fleet_.pools[pool_index];
  const bool waits = why == policy::router_errc::busy ||
                     (why == policy::router_errc::no_workers && plan_.router.hold_above);
  const policy::HeldRequest held = policy::held_request(RequestId(request), records_[request].sent,
                                                        workload_.priority_of(request), plan_.slo);
  if (!waits || !pool.queue.push(held)) {
    return false;
  }
  Flight& flight = flights_[request];
  flight.stage = Stage::held;
  eventful_ = true;
  if (!flight.was_held) {
    flight.was_held = true;
    ++history_.held;
    if (plan_.router.queue_timeout) {
      queue_.push(now_ + *plan_.router.queue_timeout, Phase::transfer, EventKind::hold_over,
                  request, flight.tries, 1);
    }
  }
  return true;
}

void Run::hold_or_refuse(std::uint32_t request, std::uint32_t pool, policy::router_errc why) {
  if (!hold(request, pool, why)) {
    const bool refused = flights_[request].migrations == 0;
    fail(request, refused ? RequestStatus::rejected : RequestStatus::failed);
  }
}

/// A router may have room for what it holds: it looks at the end of the arrivals of this instant.
void Run::look_at_queue(std::uint32_t pool_index) {
  if (placing_) {
    return;
  }
  for (std::uint32_t i = 0; i < fleet_.pools.size(); ++i) {
    Pool& pool = fleet_.pools[i];
    // A request that is pushed waits for the decode workers too.
    if ((i == pool_index || disaggregated_) && !pool.queue.empty() && !pool.queue_due) {
      pool.queue_due = true;
      queue_.push(now_, Phase::arrival, EventKind::queue_due, i, 0, 1);
    }
  }
}

void Run::serve_queue(std::uint32_t pool_index) {
  Pool& pool = fleet_.pools[pool_index];
  while (const std::optional<RequestId> front = pool.queue.front()) {
    const std::uint32_t request = front->value();
    pool.queue.pop();
    if (flights_[request].prefill == Leg::kept) {
      choose_decode(request);
    } else {
      place(request);
    }
    if (flights_[request].stage == Stage::held) {
      return;  // it found no room, and went back to where it was
    }
  }
}

/// The router has held a request for as long as it may.
void Run::queue_timeout(std::uint32_t request) {
  if (flights_[request].stage == Stage::held) {
    withdraw(request);
    fail(request, RequestStatus::rejected);
  }
}

/// Delivers what routers told each other until then.
void Run::read_mail(Pool& pool, SimTime until) {
  while (!pool.mail.empty() && pool.mail.front().at <= until) {
    const RouterMail& mail = pool.mail.front();
    for (std::uint8_t i = 0; i < pool.routers.size(); ++i) {
      if (i == mail.from) {
        continue;
      }
      switch (mail.kind) {
        case RouterMail::Kind::booked:
          pool.routers[i].booked_elsewhere(mail.request, mail.worker, mail.at);
          break;
        case RouterMail::Kind::prefill_done:
          pool.routers[i].prefill_done(mail.request.id);
          break;
        case RouterMail::Kind::finished:
          pool.routers[i].finished(mail.request.id);
          break;
      }
    }
    pool.mail.pop_front();
  }
}

void Run::post(Pool& pool, RouterMail::Kind kind, std::uint8_t from, WorkerId worker,
               const policy::RouteRequest& request) {
  if (pool.routers.size() > 1 && plan_.router.sync_delay) {
    pool.mail.push_back({now_ + *plan_.router.sync_delay, kind, from, worker, request});
  }
}

/// The prompt is computed, or its KV has come: it is no longer queued at its worker.
void Run::prompt_done(std::uint32_t pool_index, std::uint8_t router, std::uint32_t request) {
  Pool& pool = fleet_.pools[pool_index];
  Flight& flight = flights_[request];
  if (flight.prompt_queued) {
    flight.prompt_queued = false;
    pool.queued_tokens -= workload_.requests[request].input_tokens + flight.base;
  }
  policy::RouteRequest about;
  about.id = RequestId(flight.id);
  pool.routers[router].prefill_done(about.id);
  post(pool, RouterMail::Kind::prefill_done, router, {}, about);
  look_at_queue(pool_index);
}

void Run::leave_router(std::uint32_t pool_index, std::uint8_t router, std::uint32_t request) {
  prompt_done(pool_index, router, request);
  Pool& pool = fleet_.pools[pool_index];
  policy::RouteRequest about;
  about.id = RequestId(flights_[request].id);
  pool.routers[router].finished(about.id);
  post(pool, RouterMail::Kind::finished, router, {}, about);
}

/// A cache event of an engine sets out for the routers. What is lost of it is drawn block by block:
/// how many blocks an event tells of depends on how engines are stepped.
void Run::tell_cache(Pool& pool, std::uint32_t engine, const kvbm::KvEvent& event) {
  EngineSlot& slot = fleet_.engines[engine];
  if (slot.losses.empty()) {
    return send_event(pool, engine, event);
  }
  const bool stored = event.kind == kvbm::KvEvent::Kind::stored;
  kvbm::KvEvent kept = event;
  kept.count = 0;
  for (std::uint32_t i = 0; i < event.count; ++i) {
    const std::uint32_t block = event.first + (stored ? i : event.count - 1 - i);
    const bool lost = slot.losses[event.tier].uniform() < plan_.router.event_loss;
    if (!lost) {
      kept.first = stored && kept.count > 0 ? kept.first : block;
      ++kept.count;
    }
    if (kept.count > 0 && (lost || i + 1 == event.count)) {
      send_event(pool, engine, kept);
      kept.count = 0;
    }
  }
}

void Run::send_event(Pool& pool, std::uint32_t engine, const kvbm::KvEvent& event) {
  const EngineSlot& slot = fleet_.engines[engine];
  if (plan_.router.event_delay > Duration{0}) {
    pool.fresh_events.push_back({engine, event});
    if (event.tier > 0 && unfinished_ > 0) {
      expect_events(pool);  // tiers are filled and read while their engines rest
    }
    return;
  }
  for (policy::Router& router : pool.routers) {
    router.on_kv_event(WorkerId(slot.rank), event);
  }
}

/// Engines hand out their events at fixed times, half the delay apart, and these reach the routers
/// half a delay later.
void Run::expect_events(Pool& pool) {
  if (!pool.publishes_kv || pool.events_due || plan_.router.event_delay == Duration{0}) {
    return;
  }
  pool.events_due = true;
  const Duration half = std::max(plan_.router.event_delay / 2, Duration{1});
  const auto index = static_cast<std::uint32_t>(&pool - fleet_.pools.data());
  const SimTime next(((now_.time_since_epoch() / half) + 1) * half);
  queue_.push(next, Phase::arrival, EventKind::events_due, index, 0, 2);
}

void Run::cache_tick(std::uint32_t pool_index) {
  Pool& pool = fleet_.pools[pool_index];
  pool.events_due = false;
  for (const Pool::Told& told : pool.sent_events) {
    for (policy::Router& router : pool.routers) {
      router.on_kv_event(WorkerId(fleet_.engines[told.engine].rank), told.event);
    }
  }
  pool.sent_events.clear();
  observe(pool);
  // How engines are stepped decides in which order their events were read.
  std::stable_sort(pool.fresh_events.begin(), pool.fresh_events.end(),
                   [](const Pool::Told& a, const Pool::Told& b) { return a.engine < b.engine; });
  pool.sent_events.swap(pool.fresh_events);
  bool busy = !pool.sent_events.empty();
  for (std::uint32_t i = 0; i < pool.engines; ++i) {
    busy = busy || fleet_.engines[pool.first_engine + i].due != SimTime::max();
  }
  if (busy && unfinished_ > 0) {  // nobody asks a router after the last request
    expect_events(pool);
  }
}

void Run::follow_output(const Pool& pool, std::uint32_t request, std::uint32_t engine) {
  if (!pool.follows_output) {
    return;
  }
  EngineSlot& slot = fleet_.engines[engine];
  Flight& flight = flights_[request];
  flight.follows = true;
  const WorkloadRequest& from = workload_.requests[request];
  const std::int64_t prompt = from.input_tokens + flight.base;
  const std::int64_t steps = slot.engine.load(now_).steps;
  flight.block_due = steps + blocks_of(prompt, pool.block_size) * pool.block_size - prompt;
  flight.last_due = steps + from.output_tokens - flight.base - 1;
  flight.decoding_slot = static_cast<std::uint32_t>(slot.decoding.size());
  slot.decoding.push_back(RequestId(request));
}

void Run::forget_output(std::uint32_t request) {
  Flight& flight = flights_[request];
  if (!flight.follows) {
    return;
  }
  flight.follows = false;
  EngineSlot& slot = fleet_.engines[flight.engine];
  const RequestId last = slot.decoding.back();
  slot.decoding[flight.decoding_slot] = last;
  flights_[last.value()].decoding_slot = flight.decoding_slot;
  slot.decoding.pop_back();
}

/// Tells the router of the output blocks that were begun since it was last asked. A request makes
/// a token in each step after its first (while it is preempted that counts too many, at most its
/// whole answer), so that nothing need be said step by step.
void Run::tell_output(Pool& pool) {
  if (!pool.follows_output) {
    return;
  }
  for (std::uint32_t i = 0; i < pool.engines; ++i) {
    EngineSlot& slot = fleet_.engines[pool.first_engine + i];
    if (slot.decoding.empty() || slot.followed_until > now_) {
      continue;
    }
    const std::int64_t steps = slot.engine.load(now_).steps;
    slot.followed_until = slot.engine.step_end().value_or(SimTime::min());
    schedule(pool.first_engine + i);  // looking may have split a run of steps
    if (steps == slot.steps_followed) {
      continue;
    }
    slot.steps_followed = steps;
    for (const RequestId id : slot.decoding) {
      Flight& flight = flights_[id.value()];
      for (; flight.block_due <= std::min(steps, flight.last_due);
           flight.block_due += pool.block_size) {
        pool.routers[flight.router].output_block(RequestId(flight.id));
      }
    }
  }
}

}  // namespace dyn::sim
