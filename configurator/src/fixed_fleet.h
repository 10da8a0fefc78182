#pragma once

#include "dyn/configurator/explore.h"
#include "space.h"

namespace dyn::configurator {

/// Simulates a plan's fleet under a load; where step times come from the latency model also with
/// slower and with faster steps, for intervals. A long closed loop of requests of one kind is the
/// same from beginning to end: its intervals are found on its first requests, which are simulated
/// beside the whole (IntervalMethod::replayed_start).
ExploreResult simulate_fleet(const Problem& problem, Plan plan, const sim::Workload& workload,
                             const ExploreOptions& options);

}  // namespace dyn::configurator
