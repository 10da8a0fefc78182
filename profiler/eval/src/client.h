#pragma once

#include "dyn/eval/measured.h"
#include "dyn/sim/workload.h"

namespace dyn::eval {

inline constexpr int kPromptsPerSlot = 10;

/// The requests of the benchmark's client: `slots` of them in flight, `prompts` of each in all,
/// their lengths uniform from `shortest` of the row's. An answer takes one step for its first
/// token, then one for every `tokens_per_step`.
sim::Workload client(const MeasuredRow& row, int slots, double shortest, double tokens_per_step,
                     int prompts = kPromptsPerSlot);

}  // namespace dyn::eval
