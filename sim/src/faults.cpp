// What goes wrong: when it strikes, what it takes along, and when all is whole again.
#include <algorithm>

#include "dyn/core/check.h"
#include "run.h"

namespace dyn::sim {
namespace {

/// Random faults are drawn for as long as this; a run that is longer sees no more of them.
constexpr Duration kLongestRun = std::chrono::hours(24 * 7);
constexpr std::size_t kMostFaults = 100'000;

std::string stream_name(std::size_t rate) {
  return "faults/" + std::to_string(rate);
}

}  // namespace

/// Turns the schedule and the rates into actions, in order of time.
void Run::schedule_faults() {
  std::vector<FaultEvent> all = faults_.schedule;
  for (std::size_t i = 0; i < faults_.rates.size(); ++i) {
    const FaultRate& rate = faults_.rates[i];
    RandomStream random(spec_.seed, stream_name(i));
    Duration at{0};
    for (std::size_t count = 0; count < kMostFaults; ++count) {
      at += std::max(from_seconds(random.exponential(to_seconds(rate.mean_between))), Duration{1});
      if (at > kLongestRun) {
        break;
      }
      std::uint64_t workers = befalls_encoders(rate.kind) ? encode_workers_.size() : 0;
      for (const Pool& pool : fleet_.pools) {
        workers += pool.workers.size();
      }
      std::uint64_t worker = random.below(workers);
      FaultEvent event;
      event.kind = rate.kind;
      event.at = at;
      std::size_t pool = 0;
      while (pool < fleet_.pools.size() && worker >= fleet_.pools[pool].workers.size()) {
        worker -= fleet_.pools[pool++].workers.size();
      }
      event.encode = pool == fleet_.pools.size();
      if (!event.encode) {
        event.role = fleet_.pools[pool].role;
      }
      event.worker = static_cast<int>(worker);
      if (rate.duration) {
        event.duration = from_seconds(random.exponential(to_seconds(*rate.duration)));
      }
      event.factor = rate.factor;
      event.notice = rate.notice;
      all.push_back(event);
    }
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const FaultEvent& a, const FaultEvent& b) { return a.at < b.at; });
  for (const FaultEvent& event : all) {
    FaultAction action;
    action.at = SimTime(event.at);
    action.event = event;
    actions_.push_back(action);
  }
  if (!actions_.empty()) {
    queue_.push(actions_[0].at, Phase::transfer, EventKind::fault_due, 0, 0, 1);
  }
  eventful_ = eventful_ || !faults_.empty();
}

void Run::fault_due(std::uint32_t index) {
  const FaultAction action = actions_[index];  // more may be added meanwhile
  if (action.what == FaultAction::What::strike) {
    if (index + 1 < actions_.size() && actions_[index + 1].what == FaultAction::What::strike) {
      queue_.push(actions_[index + 1].at, Phase::transfer, EventKind::fault_due, index + 1, 0, 1);
    }
    strike(action.event);
    return;
  }
  if (action.event.encode) {
    return encoder_fault_over(action);
  }
  FaultImpact& impact = history_.faults[action.impact];
  if (action.what == FaultAction::What::kill) {
    const auto worker = static_cast<std::uint32_t>(impact.worker);
    WorkerSlot& slot = fleet_.pools[action.pool].workers[worker];
    if (slot.reclaimed) {
      if (slot.life != Life::absent && slot.life != Life::down) {
        crash(action.pool, worker, action.impact);
      }
      come_back(action.pool, worker, action.impact, action.event.duration);
      if (!action.event.duration && slot.life == Life::down) {
        set_life(action.pool, worker, Life::absent);  // for good: an autoscaler may start another
      }
    }
    return;
  }
  apply(action, 1);
}

/// Adds an action that a fault leads to.
void Run::act_later(FaultAction action, SimTime at, FaultAction::What what) {
  action.at = at;
  action.what = what;
  queue_.push(at, Phase::transfer, EventKind::fault_due,
              static_cast<std::uint32_t>(actions_.size()), 0, 1);
  actions_.push_back(action);
}

/// Notes a fault that strikes now.
FaultAction Run::begin_impact(const FaultEvent& event) {
  FaultAction action;
  action.event = event;
  action.impact = static_cast<std::uint32_t>(history_.faults.size());
  FaultImpact impact;
  impact.kind = event.kind;
  impact.encode = event.encode;
  impact.worker = event.kind != FaultKind::router_restart ? event.worker : 0;
  impact.at = now_;
  if (event.duration) {
    impact.until = now_ + *event.duration;
  }
  history_.faults.push_back(impact);
  return action;
}

void Run::strike(const FaultEvent& event) {
  if (event.encode) {
    return strike_encoder(event);
  }
  std::uint32_t pool_index = 0;
  for (std::uint32_t i = 0; event.role && i < fleet_.pools.size(); ++i) {
    pool_index = fleet_.pools[i].role == *event.role ? i : pool_index;
  }
  Pool& pool = fleet_.pools[pool_index];
  const auto worker = static_cast<std::uint32_t>(event.worker);
  const bool of_worker = event.kind != FaultKind::router_restart;
  if (of_worker && (worker >= pool.workers.size() || pool.workers[worker].life == Life::absent ||
                    pool.workers[worker].life == Life::down)) {
    return;  // nobody is there
  }
  if (event.kind == FaultKind::kv_loss && pool.workers[worker].life != Life::ready &&
      pool.workers[worker].life != Life::draining) {
    return;  // it has none yet
  }
  FaultAction action = begin_impact(event);
  action.pool = pool_index;
  history_.faults[action.impact].role = pool.role;
  switch (event.kind) {
    case FaultKind::worker_crash:
      crash(pool_index, worker, action.impact);
      come_back(pool_index, worker, action.impact, event.duration);
      break;
    case FaultKind::spot_reclaim:
      pool.workers[worker].reclaimed = true;
      drain(pool_index, worker);
      act_later(action, now_ + event.notice, FaultAction::What::kill);
      break;
    case FaultKind::kv_loss:
      crash(pool_index, worker, action.impact);
      history_.faults[action.impact].until = now_;
      break;
    case FaultKind::router_restart:
      restart_routers(pool);
      history_.faults[action.impact].until = now_;
      break;
    case FaultKind::slow_node:
    case FaultKind::link_down:
    case FaultKind::link_degraded:
      apply(action, event.kind == FaultKind::link_down ? 0 : event.factor);
      if (event.duration) {
        act_later(action, now_ + *event.duration, FaultAction::What::restore);
      }
      break;
  }
}

/// Sets the speed of a worker's node, or the rate of its network ports.
void Run::apply(const FaultAction& action, double factor) {
  Pool& pool = fleet_.pools[action.pool];
  const auto worker = static_cast<std::uint32_t>(action.event.worker);
  for (std::uint32_t rank = 0; rank < pool.ranks_per_worker; ++rank) {
    const std::uint32_t index = pool.first_engine + worker * pool.ranks_per_worker + rank;
    EngineSlot& slot = fleet_.engines[index];
    if (action.event.kind == FaultKind::slow_node) {
      slot.throttle->set_speed(factor);
      slot.engine.retime(now_);
      touch(index);
    } else {
      network_.degrade(engine::LinkKind::intra_node, slot.site, factor, now_);
      network_.degrade(engine::LinkKind::inter_node, slot.site, factor, now_);
    }
  }
  network_moved();
}

void Run::restart_routers(Pool& pool) {
  // What they told each other is still under way, but tells of requests that they do not know.
  pool.mail.clear();
  policy::RouterOptions options = pool.router_options;
  options.seed += ++pool.restarts * 1'000'003;  // it does not repeat what it drew
  for (policy::Router& router : pool.routers) {
    router = policy::Router(options);
    ++options.seed;
  }
  for (std::uint32_t worker = 0; worker < pool.workers.size(); ++worker) {
    if (pool.workers[worker].life != Life::ready) {
      set_available(pool, worker, false);
    }
  }
}

/// A worker and all that it holds is gone; whoever was there starts again elsewhere.
void Run::crash(std::uint32_t pool_index, std::uint32_t worker, std::uint32_t impact_index) {
  Pool& pool = fleet_.pools[pool_index];
  const std::uint32_t first = pool.first_engine + worker * pool.ranks_per_worker;
  const std::uint32_t last = first + pool.ranks_per_worker;
  for (std::uint32_t index = first; index < last; ++index) {
    catch_up(index);
  }
  const Life before = pool.workers[worker].life;
  stop_loading(pool.workers[worker]);
  set_life(pool_index, worker, Life::down);
  std::vector<std::uint32_t> hit;
  for (std::uint32_t i = oldest_; i < flights_.size(); ++i) {
    const Flight& flight = flights_[i];
    const auto there = [&](Leg leg, std::uint32_t engine) {
      return leg != Leg::none && engine >= first && engine < last;
    };
    if (there(flight.prefill, flight.prefill_engine) || there(flight.decode, flight.engine)) {
      hit.push_back(i);
    }
  }
  for (const std::uint32_t request : hit) {
    lose(request, pool, worker, history_.faults[impact_index]);
  }
  for (std::uint32_t index = first; index < last; ++index) {
    bury(index);
  }
  FaultImpact& impact = history_.faults[impact_index];
  impact.requests = static_cast<std::int64_t>(hit.size());
  const bool stays = impact.kind == FaultKind::kv_loss;  // and may take them again
  if (stays) {
    set_life(pool_index, worker, before);
  }
  for (const std::uint32_t request : hit) {
    stays ? place(request) : move_on(request, impact);
  }
}

/// A request of a lost worker starts again elsewhere, unless it did so too often.
void Run::move_on(std::uint32_t request, FaultImpact& impact) {
  Flight& flight = flights_[request];
  if (!faults_.migration || flight.migrations >= faults_.migration_limit) {
    ++impact.failed;
    fail(request, RequestStatus::failed);
    return;
  }
  ++flight.migrations;
  ++impact.migrated;
  ++history_.migrations;
  ++records_[request].migrations;
  place(request);
}

/// Puts a new engine in the place of one that crashed. What that one was doing ends unseen.
void Run::bury(std::uint32_t index) {
  EngineSlot& slot = fleet_.engines[index];
  const engine::EngineLoad load = slot.engine.load(now_);
  slot.past_steps += load.steps;
  slot.past_preemptions += load.preemptions;
  slot.past_adapters += slot.engine.adapter_use();
  const std::vector<GapCount> gaps = slot.engine.token_gaps();
  slot.past_gaps.insert(slot.past_gaps.end(), gaps.begin(), gaps.end());
  slot.engine.give_up_transfers(now_);
  tiering_.renew(slot, network_);
  slot.engine = make_engine(fleet_, index);
  ++slot.incarnation;
  slot.decoding.clear();
  slot.steps_followed = 0;
  slot.due = SimTime::max();
  ++slot.epoch;
  note_step(index, SimTime::max());
  slot.quiet_until = SimTime::max();
  slot.followed_until = SimTime::min();
}

/// What a request had at a lost worker is gone; the tokens that its client has are kept.
void Run::lose(std::uint32_t request, const Pool& pool, std::uint32_t worker, FaultImpact& impact) {
  Flight& flight = flights_[request];
  const std::int64_t lost = computed(request);
  if (flight.decode == Leg::running) {
    flight.base += progress(flight.engine, request).produced;
  }
  impact.lost_tokens += lost;
  history_.lost_tokens += lost;
  withdraw(request, &pool, worker);
}

/// A crashed worker starts again: after a given time, or as a new one does.
void Run::come_back(std::uint32_t pool_index, std::uint32_t worker, std::uint32_t impact,
                    const std::optional<Duration>& after) {
  WorkerSlot& slot = fleet_.pools[pool_index].workers[worker];
  slot.impact = impact;
  if (after) {
    queue_.push(now_ + *after, Phase::transfer, EventKind::worker_due, pool_index << 20 | worker,
                ++slot.epoch, 1);
  } else if (!slot.reclaimed) {
    start_worker(pool_index, worker);
  }
}

}  // namespace dyn::sim
