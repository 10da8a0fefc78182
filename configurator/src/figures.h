#pragma once

#include <vector>

#include "dyn/configurator/explore.h"
#include "dyn/sim/simulation.h"

namespace dyn::configurator {

/// The figures of a run that plans and results carry, in a fixed order, without intervals:
/// latencies (avg, p50, p90, p95, p99), throughput, goodput and cache hit rate.
std::vector<PlannedMetric> figures_of(const sim::SimulationResult& run, int gpus);

/// Sets the intervals of `figures` so that they span those of the runs with slower and faster
/// steps.
void set_intervals(std::vector<PlannedMetric>& figures, const std::vector<PlannedMetric>& slower,
                   const std::vector<PlannedMetric>& faster, Provenance provenance);

/// Sets the intervals of `figures` to the relative ones of `other`, where it has the figure.
void copy_intervals(std::vector<PlannedMetric>& figures, const std::vector<PlannedMetric>& other,
                    Provenance provenance);

/// Fills in a candidate's SLO checks, verdict and objective from its plan's figures.
void judge(Candidate& candidate, Objective objective);

/// Copies the intervals of the averages into the report.
void annotate(Report& report, const std::vector<PlannedMetric>& figures);

}  // namespace dyn::configurator
