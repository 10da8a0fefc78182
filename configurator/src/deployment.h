#pragma once

#include <string>

#include "dyn/configurator/explore.h"
#include "space.h"

namespace dyn::configurator {

/// The recipe's fixed fleet as a plan, with the KV blocks that the memory model leaves where none
/// are given. Throws Error(infeasible) where a pool's weights do not fit its GPUs or its layout
/// does not divide the model, and Error(bad_input) for an unknown GPU.
Plan plan_of_deployment(const Problem& problem, const std::string& recipe_path);

/// Simulates that fleet and nothing else, with the engines' own blocks; where step times come from
/// the latency model also with slower and with faster steps, for intervals.
ExploreResult run_deployment(const Problem& problem, const std::string& recipe_path,
                             const sim::Workload& workload, const ExploreOptions& options);

}  // namespace dyn::configurator
