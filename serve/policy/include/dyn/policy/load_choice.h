#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "dyn/core/quantity.h"
#include "dyn/kvbm/eviction.h"
#include "dyn/perf/step_timer.h"

namespace dyn::policy {

/// How long an engine that does nothing else takes for `tokens` tokens of a prompt behind `prior`
/// ones that it has, in steps of `budget` tokens. 0 for no tokens.
Duration prefill_time(const perf::StepTimer& timer, std::int64_t tokens, std::int64_t prior,
                      std::int64_t budget);

/// What it takes to compute a block of so many tokens again, early in a prompt and late.
kvbm::RecomputeCost recompute_cost(const perf::StepTimer& timer, std::int64_t block);

/// To load so much of a prompt from lower tiers and compute the rest.
struct LoadOption {
  std::uint32_t blocks = 0;  ///< loaded
  Duration load{0};          ///< predicted, waiting behind other loads included
  Duration compute{0};       ///< predicted, of what is not loaded
};
/// The option that is predicted to be done first; of equal ones the first, so put the one that
/// loads least first. Asserts that there is one.
std::size_t choose_load(std::span<const LoadOption> options);

}  // namespace dyn::policy
