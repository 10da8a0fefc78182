#include "dyn/policy/autoscaler.h"

#include <algorithm>
#include <cmath>

namespace dyn::policy {
namespace {

constexpr double kLevelGain = 0.5;
constexpr double kTrendGain = 0.2;

int workers(double exact) {
  return static_cast<int>(std::min(std::ceil(exact - 1e-9), 1e6));
}

/// Whether `wait` has passed since; at least so much, and always if it never happened.
bool passed(SimTime since, Duration wait, SimTime now) {
  return since == SimTime::min() || now - since >= wait;
}

}  // namespace

Autoscaler::Autoscaler(const AutoscalerSpec& spec, const PoolFacts& facts)
    : spec_(spec), facts_(facts) {}

int Autoscaler::by_load(const PoolMetrics& metrics) const {
  const int count = std::max(metrics.ready + metrics.starting, 1);
  const double budget = static_cast<double>(facts_.worker.step_tokens);
  const double queued = static_cast<double>(metrics.queued_tokens) / budget;  // steps, in all
  const double kv = metrics.kv_in_use * metrics.ready;                        // workers' worth
  const double needed = std::max(queued / spec_.queue_high, kv / spec_.kv_high);
  if (needed > count) {
    return workers(needed);
  }
  const int fewer = count - 1;
  if (fewer > 0 && queued <= spec_.queue_low * fewer && kv <= spec_.kv_low * fewer) {
    return fewer;
  }
  return count;
}

void Autoscaler::observe(const PoolMetrics& metrics) {
  const double rate = static_cast<double>(metrics.arrivals) / to_seconds(spec_.interval);
  if (!seen_) {
    level_ = rate;
    seen_ = metrics.arrivals > 0;
  } else {
    const double before = level_;
    level_ = kLevelGain * rate + (1 - kLevelGain) * (level_ + trend_);
    trend_ = kTrendGain * (level_ - before) + (1 - kTrendGain) * trend_;
  }
  if (metrics.arrivals > 0) {
    const auto count = static_cast<double>(metrics.arrivals);
    CapacityQuestion& worker = facts_.worker;
    worker.prompt_tokens = static_cast<double>(metrics.prompt_tokens) / count;
    worker.output_tokens = static_cast<double>(metrics.output_tokens) / count;
    const double cached =
        static_cast<double>(std::min(metrics.cached_tokens, metrics.prompt_tokens));
    worker.computed_tokens = std::max(worker.prompt_tokens - cached / count, 1.0);
    capacity_ = request_capacity(worker);
  }
}

int Autoscaler::by_forecast(const PoolMetrics& metrics) {
  observe(metrics);
  const double ahead = to_seconds(facts_.cold_start) / to_seconds(spec_.interval) + 1;
  forecast_ = std::max(level_ + trend_ * ahead, 0.0);
  if (capacity_ <= 0) {
    return std::max(metrics.ready + metrics.starting, 1);
  }
  const int planned = workers(forecast_ * spec_.headroom / capacity_);
  const int count = metrics.ready + metrics.starting;
  const int loaded = by_load(metrics);
  return std::max(planned, loaded > count ? loaded : count - 1);  // shrinks one at a time
}

int Autoscaler::decide(const PoolMetrics& metrics, SimTime now) {
  const int count = metrics.ready + metrics.starting;
  int wanted = spec_.kind == AutoscalerKind::forecast ? by_forecast(metrics) : by_load(metrics);
  wanted = std::min(wanted, count + spec_.max_step);
  wanted = std::clamp(wanted, spec_.min_replicas, spec_.max_replicas);
  if (wanted > count && !passed(grew_, spec_.up_cooldown, now)) {
    return count;
  }
  const bool settled =
      passed(grew_, spec_.down_cooldown, now) && passed(shrank_, spec_.down_cooldown, now);
  if (wanted < count && !settled) {
    return count;
  }
  return wanted;
}

void Autoscaler::changed(int from, int to, SimTime now) {
  if (to > from) {
    grew_ = now;
  } else if (to < from) {
    shrank_ = now;
  }
}

void fit_budget(std::span<PoolWish> pools, int max_gpus) {
  const auto total = [&pools] {
    int sum = 0;
    for (const PoolWish& pool : pools) {
      sum += std::max(pool.wanted, pool.now) * pool.gpus_per_replica;
    }
    return sum;
  };
  while (total() > max_gpus) {
    PoolWish* most = nullptr;
    for (PoolWish& pool : pools) {
      const int growth = (pool.wanted - pool.now) * pool.gpus_per_replica;
      if (growth > 0 &&
          (most == nullptr || growth > (most->wanted - most->now) * most->gpus_per_replica)) {
        most = &pool;
      }
    }
    if (most == nullptr) {
      return;
    }
    --most->wanted;
  }
}

}  // namespace dyn::policy
