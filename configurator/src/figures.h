#pragma once

#include <vector>

#include "dyn/configurator/explore.h"
#include "dyn/perf/model_spread.h"
#include "dyn/sim/simulation.h"

namespace dyn::configurator {

/// The figures of a run that plans and results carry, in a fixed order, without intervals:
/// latencies (avg, p50, p90, p95, p99), throughput, goodput and cache hit rate.
std::vector<PlannedMetric> figures_of(const sim::SimulationResult& run, int gpus);

/// How many requests were rejected, failed or cut off; those whose client left are not its fault.
std::int64_t failed(const std::vector<RequestRecord>& records);

/// The ends of the interval of the step times, as factors of their value, and how busy the fleet
/// is: what a first-order interval follows from.
struct StepBounds {
  double slower = 1;
  double faster = 1;
  Provenance provenance = Provenance::measured;
  double utilisation = 0;  ///< offered load / capacity; 1 in a closed loop
  perf::Spread ttft;       ///< how far first tokens come from what the model says of them
};

/// Of an estimated time: faster steps are at most 20 times as fast. Whole where it is zero.
StepBounds bounds_of(const Estimate& time);

/// Of the step of an engine that the model estimates: as the operators' measurements and what
/// published runs were from the model's say.
StepBounds bounds_of(const Estimate& step, const perf::ModelSpread& spread);

/// Sets the intervals of `figures` so that they span those of the runs with slower and faster
/// steps; those of the time to first token its own spread, too.
void set_intervals(std::vector<PlannedMetric>& figures, const std::vector<PlannedMetric>& slower,
                   const std::vector<PlannedMetric>& faster, Provenance provenance,
                   const perf::Spread& ttft);

/// `figures` changed in the proportion in which those of another run changed from `before` to
/// `after`; one that is not in both, or is 0 before, stays.
std::vector<PlannedMetric> in_proportion(std::vector<PlannedMetric> figures,
                                         const std::vector<PlannedMetric>& before,
                                         const std::vector<PlannedMetric>& after);

/// Sets the intervals of `figures` to first order: latencies are as long as the steps; throughput
/// falls where slower steps no longer carry the load, and rises only where the fleet is full.
/// Queueing makes the true interval wider near saturation.
void set_first_order(std::vector<PlannedMetric>& figures, const StepBounds& bounds,
                     bool closed_loop);

/// Fills in a candidate's SLO checks, verdict and objective from its plan's figures.
void judge(Candidate& candidate, Objective objective);

/// Copies the intervals of the averages into the report.
void annotate(Report& report, const std::vector<PlannedMetric>& figures);

}  // namespace dyn::configurator
