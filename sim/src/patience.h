#pragma once

#include <cstdint>

#include "dyn/sim/workload.h"

namespace dyn::sim {

/// Draws which requests their clients give up, and after how long, from a stream of its own: the
/// same requests whatever else the traffic says. Without `spec` nothing happens.
void draw_patience(const std::optional<CancellationSpec>& spec, std::uint64_t seed,
                   Workload& workload);

}  // namespace dyn::sim
