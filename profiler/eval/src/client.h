#pragma once

#include "dyn/eval/measured.h"
#include "dyn/sim/workload.h"

namespace dyn::eval {

inline constexpr int kPromptsPerSlot = 10;
inline constexpr double kShortest = 0.8;  ///< length of a prompt or answer, of the row's

/// The requests of the benchmark's client: `slots` of them in flight.
sim::Workload client(const MeasuredRow& row, int slots);

}  // namespace dyn::eval
