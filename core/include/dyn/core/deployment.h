#pragma once

#include <optional>
#include <string>
#include <vector>

#include "dyn/core/encoding.h"
#include "dyn/core/engine_config.h"
#include "dyn/core/layout.h"
#include "dyn/core/step_timing.h"

namespace dyn {

/// Equal workers of a fixed fleet.
struct DeploymentPool {
  WorkerRole role = WorkerRole::aggregated;
  int replicas = 1;
  ParallelLayout layout;
  /// What its engines have otherwise than the recipe's `engine`; once a recipe is read, the whole.
  std::optional<EngineConfig> engine;
  std::optional<StepTiming> timing;  ///< default the recipe's
  std::optional<std::string> gpu;    ///< catalogue id; default hardware.gpu
};

/// A fleet that is given instead of searched for.
struct Deployment {
  std::vector<DeploymentPool> pools;  ///< one aggregated pool, or one prefill and one decode pool
  std::optional<DeploymentEncode> encode;  ///< none: who computes a prompt encodes its images
};

}  // namespace dyn
