#pragma once

#include <cstdint>
#include <vector>

#include "dyn/sim/workload.h"

namespace dyn::sim {

/// Sessions as if they were under way: of each, the requests before a random place (seeded) between
/// these shares of its requests are left out, one is always kept. What is kept begins when the
/// session did, and what ran beside the left-out requests goes on after the first kept one; order
/// and delays between kept requests stay. For a trace that its reader made; 0 <= low <= high < 1.
/// As AgentX starts its lanes (0.25 to 0.75).
void begin_under_way(double low, double high, std::uint64_t seed, Workload& workload);

/// Numbers the sessions of requests by first appearance, so that there are no more numbers than
/// requests.
void number_sessions(std::vector<std::uint32_t>& sessions);

}  // namespace dyn::sim
