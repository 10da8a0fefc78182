#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "dyn/core/plan.h"
#include "dyn/core/recipe.h"
#include "dyn/sim/workload.h"

namespace dyn::cli {

inline constexpr std::size_t kTimelinePoints = 512;

struct WatchOptions {
  bool timeline = false;
  bool trace = false;
  std::optional<std::uint32_t> request;  ///< to be explained
};

/// What another run of a plan shows; empty where it was not asked for.
struct Watched {
  std::string timeline;          ///< schema dyn.timeline/1
  std::string trace;             ///< Chrome JSON
  std::string explanation;       ///< for people
  std::string explanation_json;  ///< schema dyn.explanation/1
};

/// Runs the plan again, as it was ranked for the recipe, and looks on. Throws Error(usage) for a
/// request that the load does not have.
Watched watch(const Plan& plan, const sim::Workload& workload, const Recipe& recipe,
              const WatchOptions& options);

}  // namespace dyn::cli
