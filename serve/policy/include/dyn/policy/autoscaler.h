#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dyn/core/autoscaler.h"
#include "dyn/policy/capacity.h"

namespace dyn::policy {

/// What does not change about a pool while it is scaled.
struct PoolFacts {
  CapacityQuestion worker;  ///< lengths are ignored: they are what is observed
  int gpus_per_replica = 1;
  Duration cold_start{0};  ///< expected, from the decision to a worker that serves
};

/// A pool as it was in the interval that just ended.
struct PoolMetrics {
  int ready = 0;                   ///< take requests
  int starting = 0;                ///< will
  std::int64_t queued_tokens = 0;  ///< of prompts that wait or are being computed, now
  double kv_in_use = 0;            ///< share of the ready workers' KV, now
  std::int64_t arrivals = 0;       ///< requests that came to the pool
  std::int64_t prompt_tokens = 0;  ///< of these
  std::int64_t output_tokens = 0;  ///< of these, expected
  std::int64_t cached_tokens = 0;  ///< of prompts admitted in the interval, found in caches
};

/// How many workers a pool should have. Pure: metrics and time in, a number out; in `sim` and in
/// `serve` alike. Not thread-safe.
///
/// load: with n workers (those starting included), grows to what brings queued tokens a worker
/// down to queue_high steps' worth and KV in use to kv_high; shrinks by one if the rest would
/// still be below queue_low and kv_low.
///
/// forecast: Holt's linear smoothing of the arrivals (level 0.5, trend 0.2), looked ahead by a cold
/// start and an interval, times the headroom, over `request_capacity` at the lengths of the last
/// interval with arrivals. It grows no less than load would, since a queue shows what the
/// forecast missed.
///
/// Growing waits for up_cooldown since the pool last grew, shrinking for down_cooldown since it
/// last changed. As Dynamo's planner documents its two modes, with the deadband that it lacks.
class Autoscaler {
 public:
  Autoscaler(const AutoscalerSpec& spec, const PoolFacts& facts);

  /// Workers wanted, within min_replicas and max_replicas; to be called once an interval.
  int decide(const PoolMetrics& metrics, SimTime now);
  double forecast() const { return forecast_; }  ///< requests/s expected, of the last decision
  double capacity() const { return capacity_; }  ///< requests/s of one worker, likewise
  /// The decision was carried out, as far as the budget allowed.
  void changed(int from, int to, SimTime now);

 private:
  int by_load(const PoolMetrics& metrics) const;
  int by_forecast(const PoolMetrics& metrics);
  void observe(const PoolMetrics& metrics);

  AutoscalerSpec spec_;
  PoolFacts facts_;
  double level_ = 0;  ///< requests/s
  double trend_ = 0;  ///< requests/s an interval
  bool seen_ = false;
  double forecast_ = 0;
  double capacity_ = 0;
  SimTime grew_ = SimTime::min();
  SimTime shrank_ = SimTime::min();
};

/// A pool's wish, and what may be cut of it.
struct PoolWish {
  int now = 0;     ///< workers there, those starting included
  int wanted = 0;  ///< cut in place
  int gpus_per_replica = 1;
};
/// Cuts growth until all pools fit `max_gpus`: one worker at a time from the pool that would grow
/// most (in GPUs; of equal ones the first). Nobody shrinks for the budget.
void fit_budget(std::span<PoolWish> pools, int max_gpus);

}  // namespace dyn::policy
