#include "dyn/sim/simulation.h"

#include <algorithm>

#include "dyn/core/check.h"
#include "run.h"

namespace dyn::sim {
namespace {

constexpr std::uint64_t kPollEvery = 256;  ///< events between looks at the cancellation flag

const FaultSpec& faults_of(const SimulationSpec& spec) {
  static const FaultSpec none;
  return spec.faults != nullptr ? *spec.faults : none;
}

}  // namespace

Run::Run(const SimulationSpec& spec, const Workload& workload)
    : spec_(spec),
      plan_(*spec.plan),
      workload_(workload),
      faults_(faults_of(spec)),
      client_(workload),
      fleet_(make_fleet(spec)),
      deployed_(make_network(spec, fleet_)),
      network_(deployed_.network),
      tiering_(make_tiering(spec, workload, fleet_, network_)),
      flights_(workload.requests.size()),
      records_(workload.requests.size()),
      retry_random_(spec.seed, "retries"),
      unfinished_(static_cast<std::uint32_t>(workload.requests.size())) {
  check_feasible(fleet_, workload);
  for (std::uint32_t i = 0; i < fleet_.pools.size(); ++i) {
    if (fleet_.pools[i].role == WorkerRole::decode) {
      decode_pool_ = i;
      disaggregated_ = true;
    } else {
      entry_pool_ = i;
    }
    history_.pools.push_back({});
    history_.pools.back().role = fleet_.pools[i].role;
    note_replicas(i);
  }
  frontend_ = spec.timers[entry_pool_]->frontend_time();
  queue_.reserve(1024);
  start_encoders();
  if (spec.timeline_points > 0) {
    start_timeline();
  }
  schedule_faults();
  eventful_ = eventful_ || !workload.patience.empty();
  if (plan_.autoscaler.kind != AutoscalerKind::off) {
    for (Pool& pool : fleet_.pools) {
      const Bytes bytes(pool.weights.count() / pool.ranks_per_worker);
      const Duration weights =
          network_.alone(weights_from(pool, 0), gpus(pool.first_engine), bytes);
      pool.autoscaler = make_autoscaler(plan_, pool, weights);
    }
    queue_.push(SimTime(plan_.autoscaler.interval), Phase::transfer, EventKind::scale_due, 0, 0, 1);
    eventful_ = true;
  }
}

SimulationResult Run::run() {
  client_.start(now_, pusher());
  const SimTime horizon = spec_.horizon ? SimTime(*spec_.horizon) : SimTime::max();
  bool stopped = false;
  while (!stopped && (!eventful_ || unfinished_ > 0)) {
    if (queue_.empty()) {
      if (unfinished_ == 0) {
        break;
      }
      come_to_rest();
    } else if (stale(queue_.top())) {
      queue_.skip();
    } else if (queue_.next_time() > horizon) {
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
  return result(now_);
}

/// Events of engines and the network that no longer count; how many there are, and when, depends
/// on how engines are stepped. And requests that are due at another time by now.
bool Run::stale(const Event& event) const {
  if (event.kind == EventKind::send) {
    return !client_.is_due(event.target, event.at);
  }
  if (event.kind == EventKind::network_due) {
    return event.epoch != network_epoch_;
  }
  return event.kind == EventKind::engine_due &&
         (event.epoch != fleet_.engines[event.target].epoch ||
          event.at != fleet_.engines[event.target].due);
}

/// Nothing is due, yet requests are not done: nothing will ever bring them on.
void Run::come_to_rest() {
  DYN_ASSERT(eventful_, "the fleet came to rest with a request inside");
  for (std::uint32_t i = oldest_; i < flights_.size(); ++i) {
    if (flights_[i].stage != Stage::done && flights_[i].stage != Stage::unsent) {
      withdraw(i);
      left(i, RequestStatus::failed, now_);
    }
  }
}

void Run::handle(const Event& event) {
  switch (event.kind) {
    case EventKind::send:
      send(event.target);
      break;
    case EventKind::deliver:
      if (event.epoch == flights_[event.target].tries &&
          flights_[event.target].stage == Stage::frontend) {
        place(event.target);
      }
      break;
    case EventKind::network_due:
      network_due();
      break;
    case EventKind::engine_due:
      fleet_.engines[event.target].due = SimTime::max();
      end_step(event.target);
      break;
    case EventKind::engine_start:
      fleet_.engines[event.target].start = SimTime::min();
      start(event.target);
      break;
    case EventKind::queue_due:
      fleet_.pools[event.target].queue_due = false;
      serve_queue(event.target);
      break;
    case EventKind::events_due:
      cache_tick(event.target);
      break;
    case EventKind::worker_due:
      worker_due(event.target, event.epoch);
      break;
    case EventKind::scale_due:
      scale();
      break;
    case EventKind::fault_due:
      fault_due(event.target);
      break;
    case EventKind::retry:
      if (flights_[event.target].stage == Stage::waiting) {
        deliver(event.target);
      }
      break;
    case EventKind::attempt_over:
      if (event.epoch == flights_[event.target].tries) {
        give_up_attempt(event.target);
      }
      break;
    case EventKind::hold_over:
      if (event.epoch == flights_[event.target].tries) {
        queue_timeout(event.target);
      }
      break;
    case EventKind::transfer_over:
      if (event.epoch == flights_[event.target].placings) {
        transfer_timeout(event.target);
      }
      break;
    case EventKind::encoder_due:
      encoder_due(event.target);
      break;
    case EventKind::client_leaves:
      client_leaves(event.target);
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
  mark(Mark::sent, request, now_, -1, record.input_tokens);
  client_.sent(request, pusher());
  if (!workload_.patience.empty() && workload_.patience[request] != Workload::kPatient) {
    queue_.push(now_ + workload_.patience[request], Phase::transfer, EventKind::client_leaves,
                request, 0, 1);
  }
  deliver(request);
}

/// An attempt of the client begins: its request is with the frontend, and then to be placed.
void Run::deliver(std::uint32_t request) {
  Flight& flight = flights_[request];
  flight.stage = Stage::frontend;
  if (faults_.retry.timeout) {
    queue_.push(now_ + *faults_.retry.timeout, Phase::transfer, EventKind::attempt_over, request,
                flight.tries, 1);
  }
  if (frontend_ > Duration{0}) {
    queue_.push(now_ + frontend_, Phase::arrival, EventKind::deliver, request, flight.tries);
  } else {
    place(request);
  }
}

/// The request is over; what waits for it is sent.
void Run::left(std::uint32_t request, RequestStatus status, SimTime at) {
  DYN_ASSERT(flights_[request].stage != Stage::done, "a request ends once");
  flights_[request].stage = Stage::done;
  records_[request].status = status;
  records_[request].finished = at;
  --unfinished_;
  while (oldest_ < flights_.size() && flights_[oldest_].stage == Stage::done) {
    ++oldest_;
  }
  mark(status == RequestStatus::completed ? Mark::finished : Mark::left, request, at, -1,
       records_[request].output_tokens);
  client_.ended(request, now_, pusher());
}

/// An attempt came to nothing, and its client tries again if it has not had enough.
void Run::fail(std::uint32_t request, RequestStatus status) {
  Flight& flight = flights_[request];
  if (flight.tries + 1 >= faults_.retry.attempts) {
    left(request, status, now_);
    return;
  }
  double wait = to_seconds(faults_.retry.backoff);
  for (std::uint16_t i = 0; i < flight.tries; ++i) {
    wait *= faults_.retry.multiplier;
  }
  wait *= 1 + faults_.retry.jitter * retry_random_.uniform();
  flight.stage = Stage::waiting;
  flight.base = 0;
  if (!encodings_.empty()) {
    encodings_[request].encoded = false;
  }
  flight.was_held = false;
  ++flight.tries;
  ++history_.retries;
  RequestRecord& record = records_[request];
  record.attempts = flight.tries + 1;
  record.first_token = record.second_token = SimTime::min();
  queue_.push(now_ + from_seconds(wait), Phase::arrival, EventKind::retry, request);
}

/// A client has waited for its first token long enough.
void Run::give_up_attempt(std::uint32_t request) {
  const Stage stage = flights_[request].stage;
  const bool under_way = stage == Stage::frontend || stage == Stage::encoding ||
                         stage == Stage::held || stage == Stage::placed;
  if (!under_way || records_[request].first_token != SimTime::min()) {
    return;
  }
  history_.lost_tokens += computed(request);
  withdraw(request);
  fail(request, RequestStatus::failed);
}

/// A client leaves, unless its request ends by now: all that the request holds is free at once.
void Run::client_leaves(std::uint32_t request) {
  Flight& flight = flights_[request];
  if (flight.prefill != Leg::none) {
    catch_up(flight.prefill_engine);
  }
  if (flight.decode != Leg::none) {
    catch_up(flight.engine);
  }
  const bool served = records_[request].first_token != SimTime::min();
  if (flight.stage == Stage::done || (workload_.patient_once_served && served)) {
    return;
  }
  const std::int64_t made =
      flight.decode == Leg::running ? progress(flight.engine, request).produced : 0;
  records_[request].output_tokens = flight.base + made;
  history_.abandoned_tokens += computed(request);
  ++history_.cancellations;
  withdraw(request);
  left(request, RequestStatus::cancelled, now_);
}

/// How far a request is at an engine.
policy::Scheduler::Progress Run::progress(std::uint32_t engine, std::uint32_t request) {
  const auto found = fleet_.engines[engine].engine.progress(RequestId(flights_[request].id), now_);
  schedule(engine);  // looking may have split a run of steps
  return found;
}

/// Tokens whose KV has been computed for the request where it is now.
std::int64_t Run::computed(std::uint32_t request) {
  const Flight& flight = flights_[request];
  const bool prefill = flight.prefill != Leg::none && flight.prefill != Leg::awaiting;
  return std::max(prefill ? progress(flight.prefill_engine, request).computed : 0,
                  flight.decode == Leg::running ? progress(flight.engine, request).computed : 0);
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
  engine::Outcome& outcome = begin_reading();
  fleet_.engines[engine].engine.settle(now_, outcome);
  finish_reading(engine, outcome);
  const bool alone = queue_.empty() || queue_.next_time() > now_;
  alone ? start(engine) : schedule(engine);
}

/// Ends the engine's steps that end by this instant and reads what happened.
void Run::settle(std::uint32_t engine) {
  engine::Outcome& outcome = begin_reading();
  fleet_.engines[engine].engine.settle(now_, outcome);
  finish_reading(engine, outcome);
  schedule(engine);
}

/// The same for a run of steps whose end is yet to come: those of its steps that ended by now.
void Run::catch_up(std::uint32_t engine) {
  fleet_.engines[engine].engine.load(now_);  // ends them; settle() hands out what they made
  settle(engine);
}

/// Starts the engine's next step.
void Run::start(std::uint32_t engine) {
  engine::Outcome& outcome = begin_reading();
  fleet_.engines[engine].engine.advance(now_, outcome);
  finish_reading(engine, outcome);
  schedule(engine);
}

engine::Outcome& Run::begin_reading() {
  DYN_ASSERT(reading_ < outcomes_.size(), "engines settle each other without end");
  return outcomes_[reading_++];
}

void Run::finish_reading(std::uint32_t engine, engine::Outcome& outcome) {
  read_outcome(engine, outcome);
  outcome.clear();
  --reading_;
}

/// Has what is next at the engine happen when it is due. Ranks of a worker share their steps: what
/// changes when one's ends changes it for all.
void Run::schedule(std::uint32_t engine) {
  const Pool& pool = pool_of(engine);
  const std::uint32_t ranks = pool.ranks_per_worker;
  const std::uint32_t first =
      pool.first_engine + pool.worker_of(fleet_.engines[engine].rank) * ranks;
  for (std::uint32_t rank = first; rank < first + ranks; ++rank) {
    schedule_rank(rank);
  }
}

void Run::schedule_rank(std::uint32_t engine) {
  EngineSlot& slot = fleet_.engines[engine];
  slot.quiet_until = slot.engine.quiet_until();
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

void Run::read_outcome(std::uint32_t engine, const engine::Outcome& outcome) {
  Pool& pool = pool_of(engine);
  start_tier_transfers(engine, outcome);
  for (const kvbm::KvEvent& event : outcome.kv_events) {
    tell_cache(pool, engine, event);
  }
  for (const engine::Admission& admission : outcome.admitted) {
    if (current(admission.id)) {
      on_admitted(engine, request_of(admission.id), admission);
    }
  }
  for (const RequestId id : outcome.preempted) {
    ++record(id).preemptions;
    mark(Mark::preempted, request_of(id), now_, engine);
  }
  for (const engine::TokenEvent& token : outcome.tokens) {
    if (current(token.id)) {
      on_token(engine, request_of(token.id), token);
    }
  }
  for (const RequestId id : outcome.prefilled) {
    if (current(id)) {
      on_prefilled(request_of(id));
    }
  }
  for (const RequestId id : outcome.kv_wanted) {
    if (current(id)) {
      on_kv_wanted(request_of(id));
    }
  }
  const std::uint32_t worker = pool.worker_of(fleet_.engines[engine].rank);
  if (pool.workers[worker].life == Life::draining) {
    retire_if_idle(fleet_.engines[engine].pool, worker);
  }
}

void Run::on_admitted(std::uint32_t engine, std::uint32_t request,
                      const engine::Admission& admission) {
  RequestRecord& to = records_[request];
  if (to.first_scheduled == SimTime::min()) {
    to.first_scheduled = admission.at;
    to.cached_tokens = admission.cached_tokens;
    const engine::DeployedTiers& tiers = tiering_.pools[fleet_.engines[engine].pool];
    for (std::uint8_t level = 1; level <= tiers.levels(); ++level) {
      to.tier_tokens[tiers.kind(level)] =
          static_cast<std::uint32_t>(admission.tier_tokens[level - 1]);
    }
    to.kv_load = admission.load_time;
    mark(Mark::scheduled, request, admission.at, engine, admission.cached_tokens);
  }
  Flight& flight = flights_[request];
  if (flight.prefill == Leg::computing) {
    pool_of(flight.prefill_engine).cached_tokens += admission.cached_tokens;
    send_early(request);
  } else {
    pool_of(flight.engine).cached_tokens += admission.cached_tokens;
  }
}

void Run::on_token(std::uint32_t engine, std::uint32_t request, const engine::TokenEvent& token) {
  Flight& flight = flights_[request];
  RequestRecord& to = records_[request];
  Pool& pool = pool_of(engine);
  const std::uint32_t index = fleet_.engines[engine].pool;
  const std::int64_t made = flight.base + token.produced;
  if (made == 1) {
    to.first_token = token.at;
    mark(Mark::first_token, request, token.at, engine);
  } else if (made == 2) {
    to.second_token = token.at;
  }
  if (token.produced == 1) {
    prompt_done(index, flight.router, request);
    follow_output(pool, request, engine);
  }
  if (token.finished) {
    to.output_tokens = made;
    ++pool.completed;
    pool.output_tokens += made;
    flight.decode = Leg::none;
    --fleet_.engines[engine].guests;
    forget_output(request);
    leave_router(index, flight.router, request);
    left(request, RequestStatus::completed, token.at);
  }
}

SimulationResult simulate(const SimulationSpec& spec, const Workload& workload) {
  return Run(spec, workload).run();
}

}  // namespace dyn::sim
