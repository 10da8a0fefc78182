#pragma once

#include <string>
#include <vector>

#include "dyn/core/plan.h"

namespace dyn::configurator {

/// A file to write, relative to the chosen folder.
struct EmittedFile {
  std::string path;
  std::string content;
};

enum class EmitTarget { compose, kubernetes };

/// The target of that name, or Error(usage) that names them.
EmitTarget parse_emit_target(const std::string& name);

/// What runs the plan for real: one engine per worker with the flags that make it the planned
/// one, and `dyn serve` in front of them with a plan whose workers are those engines.
///   compose: compose.yaml, or compose.node<N>.yaml for every node of a larger plan; plan.json
///   kubernetes: kubernetes.yaml (StatefulSets, Services, ConfigMap, Deployment)
/// The engines of disaggregated plans are connected by NIXL.
/// Equal plans give equal bytes. Throws Error(infeasible) for a worker that spans nodes, which
/// needs a launcher across hosts that these forms do not have.
std::vector<EmittedFile> emit(const Plan& plan, EmitTarget target);

}  // namespace dyn::configurator
