// Workers that come and go.
#include <algorithm>
#include <limits>

#include "dyn/core/check.h"
#include "run.h"

namespace dyn::sim {
void Run::set_available(Pool& pool, std::uint32_t worker, bool available) {
  for (std::uint32_t rank = 0; rank < pool.ranks_per_worker; ++rank) {
    for (policy::Router& router : pool.routers) {
      router.set_available(WorkerId(worker * pool.ranks_per_worker + rank), available);
    }
  }
}

void Run::set_life(std::uint32_t pool_index, std::uint32_t worker_index, Life life) {
  Pool& pool = fleet_.pools[pool_index];
  WorkerSlot& worker = pool.workers[worker_index];
  const bool paid = costs(worker);
  const Life before = worker.life;
  worker.life = life;
  if (life == Life::ready) {
    worker.reclaimed = false;
  }
  if (costs(worker) != paid) {
    PoolHistory& history = history_.pools[pool_index];
    history.gpu_hours +=
        paid ? to_seconds(now_ - worker.paid_since) / 3600 * pool.gpus_per_worker : 0;
    worker.paid_since = now_;
  }
  if ((before == Life::ready) != (life == Life::ready)) {
    set_available(pool, worker_index, life == Life::ready);
  }
  note_replicas(pool_index);
  if (life == Life::ready) {
    look_at_queue(pool_index);
  }
}

/// Notes the pool's workers as they are from this instant on.
void Run::note_replicas(std::uint32_t pool_index) {
  const Pool& pool = fleet_.pools[pool_index];
  ReplicaCount count;
  count.at = now_;
  count.pool = pool_index;
  count.ready = pool.count(Life::ready);
  count.starting = pool.count(Life::loading) + pool.count(Life::warming);
  count.draining = pool.count(Life::draining);
  count.down = pool.count(Life::down);
  PoolHistory& history = history_.pools[pool_index];
  history.most_workers =
      std::max(history.most_workers, count.ready + count.starting + count.draining);
  for (auto last = history_.replicas.rbegin(); last != history_.replicas.rend() && last->at == now_;
       ++last) {
    if (last->pool == pool_index) {
      *last = count;  // one entry an instant
      return;
    }
  }
  history_.replicas.push_back(count);
}

/// From where the GPUs of a rank get their weights.
engine::Endpoint Run::weights_from(const Pool& pool, std::uint32_t rank) const {
  const std::uint32_t engine = pool.first_engine + rank;
  if (plan_.autoscaler.weights == WeightSource::disk) {
    return {engine::Place::disk, fleet_.engines[engine].site};
  }
  if (plan_.autoscaler.weights == WeightSource::peer) {
    for (std::uint32_t peer = 0; peer < pool.workers.size(); ++peer) {
      if (pool.workers[peer].life == Life::ready) {
        return gpus(pool.first_engine + peer * pool.ranks_per_worker +
                    rank % pool.ranks_per_worker);
      }
    }
  }
  return {engine::Place::store, {}};
}

/// Begins to load a worker's weights.
void Run::start_worker(std::uint32_t pool_index, std::uint32_t worker_index) {
  Pool& pool = fleet_.pools[pool_index];
  WorkerSlot& worker = pool.workers[worker_index];
  set_life(pool_index, worker_index, Life::loading);
  ++worker.epoch;
  const std::uint64_t tag = kWeightsTag | std::uint64_t{pool_index} << 20 | worker_index;
  const std::uint32_t first = worker_index * pool.ranks_per_worker;
  const Bytes bytes(pool.weights.count() / pool.ranks_per_worker);
  for (std::uint32_t rank = first; rank < first + pool.ranks_per_worker; ++rank) {
    if (plan_.autoscaler.weights != WeightSource::warm) {
      worker.loads.push_back(network_.start(weights_from(pool, rank),
                                            gpus(pool.first_engine + rank), bytes, tag, now_));
    }
  }
  network_moved();
  if (worker.loads.empty()) {
    weights_arrived(tag & ~kWeightsTag, {});
  }
}

void Run::weights_arrived(std::uint64_t tag, engine::TransferId transfer) {
  const auto pool_index = static_cast<std::uint32_t>(tag >> 20);
  const auto worker_index = static_cast<std::uint32_t>(tag & 0xfffff);
  WorkerSlot& worker = fleet_.pools[pool_index].workers[worker_index];
  std::erase(worker.loads, transfer);
  if (worker.life == Life::loading && worker.loads.empty()) {
    set_life(pool_index, worker_index, Life::warming);
    queue_.push(now_ + plan_.autoscaler.startup, Phase::transfer, EventKind::worker_due,
                static_cast<std::uint32_t>(tag), ++worker.epoch, 1);
  }
}

/// A worker is ready: it has started, or is back.
void Run::worker_due(std::uint32_t target, std::uint16_t epoch) {
  const std::uint32_t pool_index = target >> 20;
  const std::uint32_t worker_index = target & 0xfffff;
  if (pool_index == fleet_.pools.size()) {
    return encode_worker_due(worker_index, epoch);
  }
  WorkerSlot& worker = fleet_.pools[pool_index].workers[worker_index];
  if (worker.epoch != epoch) {
    return;
  }
  set_life(pool_index, worker_index, Life::ready);
  if (worker.impact) {
    history_.faults[*worker.impact].until = now_;
    worker.impact.reset();
  }
}

void Run::stop_loading(WorkerSlot& worker) {
  for (const engine::TransferId load : worker.loads) {
    network_.cancel(load, now_);
  }
  worker.loads.clear();
  ++worker.epoch;
  network_moved();
}

/// Takes nothing new, and goes when it has ended what it has.
void Run::drain(std::uint32_t pool_index, std::uint32_t worker_index) {
  WorkerSlot& worker = fleet_.pools[pool_index].workers[worker_index];
  if (worker.life == Life::ready) {
    set_life(pool_index, worker_index, Life::draining);
    retire_if_idle(pool_index, worker_index);
  } else if (worker.life != Life::draining) {
    stop_loading(worker);
    set_life(pool_index, worker_index, Life::absent);
  }
}

void Run::retire_if_idle(std::uint32_t pool_index, std::uint32_t worker_index) {
  Pool& pool = fleet_.pools[pool_index];
  const std::uint32_t first = worker_index * pool.ranks_per_worker;
  for (std::uint32_t rank = first; rank < first + pool.ranks_per_worker; ++rank) {
    if (fleet_.engines[pool.first_engine + rank].guests > 0) {
      return;
    }
  }
  set_life(pool_index, worker_index, Life::absent);
}

policy::PoolMetrics Run::metrics_of(Pool& pool) {
  policy::PoolMetrics metrics;
  metrics.ready = pool.count(Life::ready);
  metrics.starting = pool.count(Life::loading) + pool.count(Life::warming) + pool.count(Life::down);
  metrics.queued_tokens = pool.queued_tokens;
  std::int64_t used = 0;
  std::int64_t total = 0;
  for (std::uint32_t rank = 0; rank < pool.engines; ++rank) {
    if (pool.workers[pool.worker_of(rank)].life == Life::ready) {
      const engine::EngineLoad load = fleet_.engines[pool.first_engine + rank].engine.load(now_);
      schedule(pool.first_engine + rank);  // looking may have split a run of steps
      used += load.used_blocks;
      total += load.total_blocks;
    }
  }
  metrics.kv_in_use = total > 0 ? static_cast<double>(used) / static_cast<double>(total) : 0;
  metrics.arrivals = pool.arrivals;
  metrics.prompt_tokens = pool.prompt_tokens;
  metrics.output_tokens =
      pool.completed > 0 ? pool.arrivals * pool.output_tokens / pool.completed : pool.arrivals;
  metrics.cached_tokens = pool.cached_tokens;
  pool.arrivals = pool.prompt_tokens = pool.cached_tokens = 0;
  if (pool.completed > 0) {
    // What answers were lately is what they are taken to be until others end.
    pool.output_tokens /= pool.completed;
    pool.completed = 1;
  }
  return metrics;
}

/// The autoscaler's turn.
void Run::scale() {
  std::vector<policy::PoolWish> wishes;
  for (Pool& pool : fleet_.pools) {
    const policy::PoolMetrics metrics = metrics_of(pool);
    policy::PoolWish wish;
    wish.now = metrics.ready + metrics.starting;
    wish.wanted = pool.autoscaler->decide(metrics, now_);
    wish.gpus_per_replica = pool.gpus_per_worker;
    wishes.push_back(wish);
  }
  policy::fit_budget(wishes, plan_.autoscaler.max_gpus.value_or(std::numeric_limits<int>::max()));
  for (std::uint32_t i = 0; i < wishes.size(); ++i) {
    if (wishes[i].wanted != wishes[i].now) {
      fleet_.pools[i].autoscaler->changed(wishes[i].now, wishes[i].wanted, now_);
      resize(i, wishes[i].wanted - wishes[i].now);
    }
  }
  queue_.push(now_ + plan_.autoscaler.interval, Phase::transfer, EventKind::scale_due, 0, 0, 1);
}

/// Adds or takes away workers. Those that are starting go first, the last of them before others;
/// then those with the fewest requests.
void Run::resize(std::uint32_t pool_index, int by) {
  Pool& pool = fleet_.pools[pool_index];
  PoolHistory& history = history_.pools[pool_index];
  const int direction = by > 0 ? 1 : -1;
  ++(by > 0 ? history.growths : history.shrinkings);
  history.direction_changes += pool.last_direction == -direction ? 1 : 0;
  pool.last_direction = direction;
  const auto count = static_cast<std::uint32_t>(pool.workers.size());
  for (std::uint32_t worker = 0; worker < count && by > 0; ++worker) {
    if (pool.workers[worker].life == Life::absent) {
      pool.workers[worker].reclaimed = false;
      start_worker(pool_index, worker);
      --by;
    }
  }
  for (; by < 0; ++by) {
    std::optional<std::uint32_t> chosen;
    std::int64_t fewest = 0;
    for (std::uint32_t worker = count; worker-- > 0;) {
      const Life life = pool.workers[worker].life;
      if (life != Life::ready && life != Life::loading && life != Life::warming) {
        continue;
      }
      std::int64_t guests = life == Life::ready ? 0 : -1;
      for (std::uint32_t rank = 0; life == Life::ready && rank < pool.ranks_per_worker; ++rank) {
        guests += fleet_.engines[pool.first_engine + worker * pool.ranks_per_worker + rank].guests;
      }
      if (!chosen || guests < fewest) {
        chosen = worker;
        fewest = guests;
      }
    }
    if (!chosen) {
      return;
    }
    drain(pool_index, *chosen);
  }
}

}  // namespace dyn::sim
