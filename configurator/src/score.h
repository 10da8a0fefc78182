#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "dyn/configurator/explore.h"
#include "dyn/core/slo.h"
#include "dyn/perf/step_timer.h"
#include "space.h"

namespace dyn::configurator {

/// A pool of equal workers under the whole load, in steady state. Times in seconds.
struct PoolEstimate {
  double capacity = 0;                 ///< requests/s of the whole pool
  double utilisation = 0;              ///< offered / capacity; 1 in a closed loop
  double batch = 0;                    ///< sequences that decode at once, each engine
  double chunk = 0;                    ///< prompt tokens of a step that holds any; 0: never any
  double ttft_mean = 0, ttft_p99 = 0;  ///< of this pool's part: queueing and prefill
  double itl_mean = 0, itl_p99 = 0;
};

/// Scores topologies in closed form: for each pool the batch at which tokens leave as fast as
/// requests come (flow balance over PerfModel step times at the load's mean lengths), the wait of
/// an M/G/1 queue for prefill, Poisson occupancy for the tail, and fluid backlog where a pool, or
/// the busiest stretch of a trace, is overloaded. Pools are scored once a (shape, replicas) and
/// shared by topologies. It ranks; the replay decides. Not thread-safe.
class Scorer {
 public:
  Scorer(const Problem& problem, const Space& space) : problem_(problem), space_(space) {}

  AnalyticScore score(const Topology& topology);
  /// The operating point of a pool.
  const PoolEstimate& pool(std::uint32_t shape, int replicas);
  /// A step that is typical of a pool: the one to take a relative error at.
  perf::StepBatch typical_step(std::uint32_t shape, int replicas);

 private:
  AnalyticScore aggregated_closed(const PoolEstimate& pool) const;
  AnalyticScore disaggregated_closed(const PoolEstimate& prefill, const PoolEstimate& decode,
                                     double transfer) const;
  double transfer_time(const Topology& topology) const;

  const Problem& problem_;
  const Space& space_;
  std::map<std::pair<std::uint32_t, int>, PoolEstimate> pools_;
};

/// The statistic (avg, p50 ... p99) of a latency with that mean and 99th percentile, taken as a
/// shifted exponential.
double quantile(double mean, double p99, const std::string& statistic);

/// The predicted value of a target, in seconds.
double predicted(const AnalyticScore& score, const Slo::Target& target, double mean_output);

/// Largest value / limit over the targets; 0 without targets. At most 1 means that all are met.
double worst_ratio(const AnalyticScore& score, const std::vector<Slo::Target>& targets,
                   double mean_output);

/// The objective's figure according to the score, in the objective's unit.
double objective_of(Objective objective, const AnalyticScore& score, int gpus, bool meets_slo,
                    double mean_output);

}  // namespace dyn::configurator
