#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dyn/core/plan.h"
#include "dyn/core/recipe.h"
#include "dyn/core/report.h"
#include "dyn/sim/workload.h"

namespace dyn::configurator {

struct ExploreOptions {
  int threads = 0;  ///< 0: one a core
  /// Called now and then from the calling thread with 0..1 and what is being done.
  std::function<void(double, const std::string&)> progress;
  const std::atomic<bool>* cancelled = nullptr;
};

/// One topology that was simulated.
struct Candidate {
  Plan plan;
  Report report;
  bool meets_slo = false;
  double objective = 0;     ///< in the objective's unit; larger is better after the sign is applied
  double analytic = 0;      ///< what the closed-form score said
};

/// Why topologies were left out, with how many.
struct Rejection {
  std::string reason;
  std::int64_t count = 0;
};

/// The answer to a recipe (schema dyn.result/1).
struct ExploreResult {
  std::int64_t explored = 0;   ///< topologies enumerated
  std::int64_t feasible = 0;   ///< of them fit in memory
  std::vector<Candidate> ranked;  ///< best first; those that meet the SLOs before the others
  std::vector<Rejection> rejected;
};

/// Enumerates the recipe's topologies, filters by memory, scores analytically, simulates the
/// best on all cores, ranks by objective under the SLOs. Deterministic whatever `threads` is.
/// Throws Error(infeasible) if nothing fits, saying what would be needed.
ExploreResult explore(const Recipe& recipe, const std::string& recipe_path,
                      const sim::Workload& workload, const ExploreOptions& options);

}  // namespace dyn::configurator
