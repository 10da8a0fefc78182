#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "dyn/core/plan.h"
#include "dyn/core/recipe.h"
#include "dyn/core/report.h"
#include "dyn/sim/fleet_history.h"
#include "dyn/sim/timeline.h"
#include "dyn/sim/workload.h"

namespace dyn::configurator {

struct ExploreOptions {
  int threads = 0;  ///< 0: one a core
  /// Called now and then from the calling thread with 0..1 and what is being done.
  std::function<void(double, const std::string&)> progress;
  /// Polled; once set, explore() returns early with `cancelled` set and nothing ranked.
  const std::atomic<bool>* cancelled = nullptr;
  std::size_t timeline_points = 0;  ///< of a fixed fleet's timeline; 0: none is kept
};

/// What the closed-form score says of a topology, before any replay. Seconds, requests/s.
struct AnalyticScore {
  double ttft_mean = 0, ttft_p99 = 0;
  double itl_mean = 0, itl_p99 = 0;
  double request_rate = 0;  ///< completed requests/s
  double utilisation = 0;   ///< offered load / capacity of the busiest pool
};

/// How an interval was found.
enum class IntervalMethod {
  replayed,        ///< the whole load replayed with slower and with faster steps
  replayed_start,  ///< its first requests, by what slower and faster steps change their figures
  first_order,     ///< latencies as long as the steps, throughput as far as they carry the load
};

/// One latency target and what was predicted for it (ms).
struct SloCheck {
  Slo::Target target;
  Estimate value;
  bool met = false;
  bool certain = false;  ///< the whole interval lies on the same side of the limit
};

/// One topology that was simulated. Its plan carries every predicted figure with an interval.
struct Candidate {
  Plan plan;
  Report report;
  std::vector<SloCheck> slo;
  bool meets_slo = false;            ///< every target is met and no request failed
  std::int64_t failed_requests = 0;  ///< those whose client left not counted
  double objective = 0;              ///< in the objective's own unit (see objective_unit)
  AnalyticScore analytic;
  IntervalMethod intervals = IntervalMethod::first_order;
};

/// Why topologies were left out, with how many.
struct Rejection {
  std::string reason;
  std::int64_t count = 0;
};

/// The load in a few numbers.
struct WorkloadSummary {
  std::int64_t requests = 0;
  double mean_input = 0, mean_output = 0;  ///< tokens
  std::int64_t longest = 0;                ///< prompt and answer of one request, tokens
  double request_rate = 0;                 ///< requests/s; 0 in a closed loop
  std::int32_t concurrency = 0;            ///< 0: open loop
  double reuse = 0;  ///< share of prompt tokens that a cache without bounds would hold
};

/// The answer to a recipe (schema dyn.result/1).
struct ExploreResult {
  std::int64_t explored = 0;  ///< topologies enumerated
  std::int64_t feasible = 0;  ///< of them could run
  WorkloadSummary workload;
  std::vector<Candidate> ranked;  ///< best first; those that meet the SLOs before the others
  std::vector<Rejection> rejected;
  std::vector<std::string> notes;  ///< what the reader should know, such as a raised context length
  std::vector<RequestRecord> winner_records;
  sim::FleetHistory winner_fleet;
  std::optional<sim::Timeline> winner_timeline;  ///< of a fixed fleet, where it was asked for
  bool cancelled = false;
};

/// Simulates the recipe's fleet, where it gives one. Else enumerates the recipe's topologies,
/// filters by memory, scores analytically, simulates the best on all cores in rounds (each round
/// corrects the scores by what the last one showed), ranks by objective under the SLOs. The same
/// result whatever `threads` is. `recipe_path` resolves paths and is named in errors. Throws
/// Error(infeasible) if nothing fits, saying what would be needed, and Error(bad_input) for an
/// unknown model, GPU or profile.
ExploreResult explore(const Recipe& recipe, const std::string& recipe_path,
                      const sim::Workload& workload, const ExploreOptions& options);

/// The plan of a recipe with a fixed fleet, which must have one, as explore() would simulate it.
/// Throws as explore() does.
Plan plan_of(const Recipe& recipe, const std::string& recipe_path, const sim::Workload& workload);

/// Name and unit of an objective's figure, and whether more of it is better.
const char* objective_name(Objective objective);
const char* objective_unit(Objective objective);
bool higher_is_better(Objective objective);

/// Short text of a plan's topology, such as `4 x tp2` or `3 x tp1 + 5 x tp2`.
std::string layout_text(const Plan& plan);
/// `aggregated` or `disaggregated`.
const char* mode_text(const Plan& plan);

/// The figure of that name (report tag and statistic, such as time_to_first_token.p99), or null.
const PlannedMetric* find_figure(const Plan& plan, const std::string& name);

}  // namespace dyn::configurator
