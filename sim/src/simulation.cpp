#include "dyn/sim/simulation.h"

#include <algorithm>

#include "dyn/core/check.h"
#include "run.h"

namespace dyn::sim {
namespace {

constexpr std::uint64_t kPollEvery = 256;  ///< events between looks at the cancellation flag

engine::KvLink make_link(const SimulationSpec& spec) {
  const PoolSpec* prefill = spec.plan->pool(WorkerRole::prefill);
  const PoolSpec* decode = spec.plan->pool(WorkerRole::decode);
  return {spec.plan->transfer, static_cast<std::uint32_t>(prefill ? prefill->replicas : 1),
          static_cast<std::uint32_t>(decode ? decode->replicas : 1)};
}

std::int64_t blocks_of(std::int64_t tokens, int block_size) {
  return (tokens + block_size - 1) / block_size;
}

}  // namespace

Run::Run(const SimulationSpec& spec, const Workload& workload)
    : spec_(spec),
      workload_(workload),
      client_(workload),
      fleet_(make_fleet(spec)),
      tiering_(make_tiering(spec, workload, fleet_)),
      link_(make_link(spec)),
      flights_(workload.requests.size()),
      records_(workload.requests.size()) {
  check_feasible(fleet_, workload);
  for (std::uint32_t i = 0; i < fleet_.pools.size(); ++i) {
    if (fleet_.pools[i].role == WorkerRole::decode) {
      decode_pool_ = i;
    } else {
      entry_pool_ = i;
    }
  }
  frontend_ = spec.timers[entry_pool_]->frontend_time();
  queue_.reserve(1024);
  if (spec.timeline_points > 0) {
    start_timeline();
  }
}

SimulationResult Run::run() {
  client_.start(now_, pusher());
  const SimTime horizon = spec_.horizon ? SimTime(*spec_.horizon) : SimTime::max();
  bool stopped = false;
  while (!queue_.empty() && !stopped) {
    if (queue_.next_time() > horizon) {
      now_ = horizon;
      stopped = true;
    } else if (spec_.cancelled && queue_.popped() % kPollEvery == 0 &&
               spec_.cancelled->load(std::memory_order_relaxed)) {
      stopped = true;
    } else {
      const Event event = queue_.pop();
      if (event.at >= next_sample_) {
        sample(event.at);
      }
      now_ = event.at;
      handle(event);
    }
  }
  DYN_ASSERT(stopped || std::all_of(flights_.begin(), flights_.end(),
                                    [](const Flight& f) { return f.stage == Stage::done; }),
             "the fleet came to rest with a request inside");
  return result(now_);
}

void Run::handle(const Event& event) {
  switch (event.kind) {
    case EventKind::send:
      send(event.target);
      break;
    case EventKind::deliver:
      deliver(event.target);
      break;
    case EventKind::transfer_done:
      transfer_done(event.target);
      break;
    case EventKind::network_due:
      if (event.epoch == network_epoch_) {
        network_due();
      }
      break;
    case EventKind::engine_due: {
      EngineSlot& slot = fleet_.engines[event.target];
      if (event.epoch == slot.epoch && event.at == slot.due) {
        slot.due = SimTime::max();
        end_step(event.target);
      }
      break;
    }
    case EventKind::engine_start:
      fleet_.engines[event.target].start = SimTime::min();
      start(event.target);
      break;
  }
}

void Run::send(std::uint32_t request) {
  const WorkloadRequest& from = workload_.requests[request];
  RequestRecord& record = records_[request];
  record.id = request;
  record.sent = now_;
  record.status = RequestStatus::unfinished;
  record.input_tokens = from.input_tokens;
  record.warmup = request < workload_.warmup;
  record.request_class = workload_.class_number(request);
  record.session = workload_.session_of(request);
  flights_[request].stage = Stage::sent;
  mark(Mark::sent, request, now_, -1, record.input_tokens);
  client_.sent(request, pusher());
  if (frontend_ > Duration{0}) {
    queue_.push(now_ + frontend_, Phase::arrival, EventKind::deliver, request);
  } else {
    deliver(request);
  }
}

/// The request is over; what waits for it is sent.
void Run::left(std::uint32_t request, RequestStatus status, SimTime at) {
  DYN_ASSERT(flights_[request].stage != Stage::done, "a request ends once");
  flights_[request].stage = Stage::done;
  records_[request].status = status;
  records_[request].finished = at;
  mark(status == RequestStatus::completed ? Mark::finished : Mark::left, request, at, -1,
       records_[request].output_tokens);
  client_.ended(request, now_, pusher());
}

void Run::deliver(std::uint32_t request) {
  mark(Mark::delivered, request, now_);
  if (!submit(request, entry_pool_)) {
    left(request, RequestStatus::rejected, now_);
  }
}

/// Routes a request within a pool and queues it there; false if the router refuses it.
bool Run::submit(std::uint32_t request, std::uint32_t pool_index) {
  Pool& pool = fleet_.pools[pool_index];
  engine::EngineRequest to_engine = engine_request(pool, workload_, request);
  to_engine.future = tiering_.future(workload_, request, pool.block_size);
  observe(pool);
  tell_output(pool);
  const Result<policy::RouteChoice> choice = pool.router.route(
      {to_engine.id, to_engine.prompt_tokens, to_engine.max_output_tokens, to_engine.blocks}, now_);
  if (!choice) {
    return false;
  }
  const std::uint32_t engine = pool.first_engine + choice->worker.value();
  Flight& flight = flights_[request];
  const auto worker = static_cast<std::int32_t>(choice->worker.value());
  if (pool.role == WorkerRole::prefill) {
    flight.stage = Stage::prefilling;
    flight.prefill_engine = engine;
    records_[request].prefill_worker = worker;
  } else {
    flight.stage = pool.role == WorkerRole::decode ? Stage::reserving : Stage::running;
    flight.engine = engine;
    records_[request].worker = worker;
  }
  mark(Mark::routed, request, now_, engine);
  fleet_.engines[engine].engine.submit(to_engine, now_);
  touch(engine);
  return true;
}

/// Has the engine start a step at the end of this instant, if it can.
void Run::touch(std::uint32_t engine) {
  EngineSlot& slot = fleet_.engines[engine];
  slot.quiet_until = now_;
  if (slot.start != now_) {
    slot.start = now_;
    queue_.push(now_, Phase::start, EventKind::engine_start, engine, 0,
                static_cast<std::uint16_t>(engine));
  }
}

/// The engine's step ends; the next starts at once if nothing else can happen at this instant.
void Run::end_step(std::uint32_t engine) {
  fleet_.engines[engine].engine.settle(now_, outcome_);
  read_outcome(engine);
  const bool alone = queue_.empty() || queue_.next_time() > now_;
  alone ? start(engine) : schedule(engine);
}

/// Ends the engine's steps that end by this instant and reads what happened.
void Run::settle(std::uint32_t engine) {
  fleet_.engines[engine].engine.settle(now_, outcome_);
  read_outcome(engine);
  schedule(engine);
}

/// Starts the engine's next step.
void Run::start(std::uint32_t engine) {
  fleet_.engines[engine].engine.advance(now_, outcome_);
  read_outcome(engine);
  schedule(engine);
}

/// Has what is next at the engine happen when it is due.
void Run::schedule(std::uint32_t engine) {
  EngineSlot& slot = fleet_.engines[engine];
  slot.quiet_until = slot.engine.step_end().value_or(SimTime::max());
  const SimTime next = slot.engine.next_event().value_or(SimTime::max());
  if (next <= now_) {
    return touch(engine);
  }
  note_step(engine, next);
  if (slot.due == next) {
    return;
  }
  slot.due = next;
  ++slot.epoch;  // whatever was due before is stale
  if (next != SimTime::max()) {
    queue_.push(next, Phase::engine, EventKind::engine_due, engine, slot.epoch,
                static_cast<std::uint16_t>(engine));
  }
}

/// Before a choice that depends on what engines have cached, their routers must know of every
/// block that was stored or evicted by now, runs of steps in progress included.
void Run::observe(const Pool& pool) {
  if (!pool.publishes_kv) {
    return;
  }
  for (std::uint32_t i = 0; i < pool.engines; ++i) {
    if (fleet_.engines[pool.first_engine + i].quiet_until <= now_) {
      settle(pool.first_engine + i);
    }
  }
}

void Run::read_outcome(std::uint32_t engine) {
  Pool& pool = pool_of(engine);
  const engine::DeployedTiers& tiers = tiering_.pools[fleet_.engines[engine].pool];
  start_tier_transfers(engine);
  const WorkerId worker(fleet_.engines[engine].rank);
  for (const kvbm::KvEvent& event : outcome_.kv_events) {
    pool.router.on_kv_event(worker, event);
  }
  for (const engine::Admission& admission : outcome_.admitted) {
    RequestRecord& to = record(admission.id);
    if (to.first_scheduled == SimTime::min()) {
      to.first_scheduled = admission.at;
      to.cached_tokens = admission.cached_tokens;
      for (std::uint8_t level = 1; level <= tiers.levels(); ++level) {
        to.tier_tokens[tiers.kind(level)] =
            static_cast<std::uint32_t>(admission.tier_tokens[level - 1]);
      }
      to.kv_load = admission.load_time;
      mark(Mark::scheduled, admission.id.value(), admission.at, engine, admission.cached_tokens);
    }
  }
  for (const RequestId id : outcome_.preempted) {
    ++record(id).preemptions;
    mark(Mark::preempted, id.value(), now_, engine);
  }
  for (const engine::TokenEvent& token : outcome_.tokens) {
    on_token(engine, token);
  }
  for (const RequestId id : outcome_.prefilled) {
    on_prefilled(engine, id.value());
  }
  for (const RequestId id : outcome_.kv_wanted) {
    on_kv_wanted(id.value());
  }
  outcome_.clear();
}

void Run::on_token(std::uint32_t engine, const engine::TokenEvent& token) {
  RequestRecord& to = record(token.id);
  Pool& pool = pool_of(engine);
  if (token.produced == 1) {
    to.first_token = token.at;
    mark(Mark::first_token, token.id.value(), token.at, engine);
    pool.router.prefill_done(token.id);
    follow_output(pool, token.id.value(), engine);
  } else if (token.produced == 2) {
    to.second_token = token.at;
  }
  if (token.finished) {
    to.output_tokens = token.produced;
    forget_output(token.id.value());
    pool.router.finished(token.id);
    left(token.id.value(), RequestStatus::completed, token.at);
  }
}

/// The prompt is computed and its KV held here until it has reached a decode engine.
void Run::on_prefilled(std::uint32_t engine, std::uint32_t request) {
  const RequestId id(request);
  mark(Mark::prefilled, request, now_, engine);
  pool_of(engine).router.prefill_done(id);
  if (!submit(request, decode_pool_)) {
    fleet_.engines[engine].engine.release_held(id, now_);
    touch(engine);
    pool_of(engine).router.finished(id);
    left(request, RequestStatus::rejected, now_);
  }
}

/// The decode engine has room: the KV that it has not cached itself sets out.
void Run::on_kv_wanted(std::uint32_t request) {
  Flight& flight = flights_[request];
  flight.stage = Stage::transferring;
  const auto from = WorkerId(fleet_.worker_of(fleet_.engines[flight.prefill_engine]));
  const auto to = WorkerId(fleet_.worker_of(fleet_.engines[flight.engine]));
  const engine::KvLink::Transfer transfer = link_.reserve(
      from, to, fleet_.engines[flight.engine].engine.tokens_wanted(RequestId(request)), now_);
  records_[request].transfer = transfer.ends - now_;
  mark(Mark::transfer_begun, request, now_, flight.engine, (transfer.ends - now_).count());
  queue_.push(transfer.ends, Phase::transfer, EventKind::transfer_done, request);
}

void Run::transfer_done(std::uint32_t request) {
  Flight& flight = flights_[request];
  const RequestId id(request);
  flight.stage = Stage::running;
  mark(Mark::transfer_done, request, now_, flight.engine);
  fleet_.engines[flight.prefill_engine].engine.release_held(id, now_);
  pool_of(flight.prefill_engine).router.finished(id);
  fleet_.engines[flight.engine].engine.kv_received(id, now_);
  pool_of(flight.engine).router.prefill_done(id);
  touch(flight.prefill_engine);
  touch(flight.engine);
}

void Run::follow_output(const Pool& pool, std::uint32_t request, std::uint32_t engine) {
  if (!pool.follows_output) {
    return;
  }
  EngineSlot& slot = fleet_.engines[engine];
  Flight& flight = flights_[request];
  const WorkloadRequest& from = workload_.requests[request];
  const std::int64_t steps = slot.engine.load(now_).steps;
  flight.block_due =
      steps + blocks_of(from.input_tokens, pool.block_size) * pool.block_size - from.input_tokens;
  flight.last_due = steps + from.output_tokens - 1;
  flight.decoding_slot = static_cast<std::uint32_t>(slot.decoding.size());
  slot.decoding.push_back(RequestId(request));
}

void Run::forget_output(std::uint32_t request) {
  Flight& flight = flights_[request];
  EngineSlot& slot = fleet_.engines[flight.engine];
  if (!fleet_.pools[slot.pool].follows_output) {
    return;
  }
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
        pool.router.output_block(id);
      }
    }
  }
}

SimulationResult simulate(const SimulationSpec& spec, const Workload& workload) {
  return Run(spec, workload).run();
}

}  // namespace dyn::sim
