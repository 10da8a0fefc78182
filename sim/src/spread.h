#pragma once

#include <cstdint>
#include <vector>

#include "dyn/sim/workload.h"

namespace dyn::sim {

/// Spreads arrivals that share a timestamp. Requests of a tick get sorted uniform offsets in
/// [0, width), width being the gap to the next timestamp but at most the trace's median gap, so
/// that order is kept and a lull is not filled. A request alone on its timestamp keeps it: a trace
/// with exact times stays as it is. The offsets of a tick do not depend on those before it being
/// cut off later by a limit.
void spread_ticks(std::vector<WorkloadRequest>& requests, std::uint64_t seed);

}  // namespace dyn::sim
