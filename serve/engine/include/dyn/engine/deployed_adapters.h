#pragma once

#include "dyn/core/plan.h"
#include "dyn/policy/adapters.h"

namespace dyn::engine {

/// How long a step of a pool's engines stalls for a LoRA adapter: each GPU's share of it over its
/// link to the host; from storage also the whole file from the node's disk, as every rank of vLLM
/// reads it. Both are alone on their way. Zeros where the pool has no adapters. Throws
/// Error(bad_input) where a link that they need has no bandwidth.
policy::AdapterLoadTimes adapter_load_times(const Plan& plan, const PoolSpec& pool);

}  // namespace dyn::engine
