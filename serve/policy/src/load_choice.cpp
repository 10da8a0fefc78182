#include "dyn/policy/load_choice.h"

#include <algorithm>

#include "dyn/core/check.h"

namespace dyn::policy {

Duration prefill_time(const perf::StepTimer& timer, std::int64_t tokens, std::int64_t prior,
                      std::int64_t budget) {
  Duration time{0};
  while (tokens > 0) {
    const std::int64_t chunk = std::min(tokens, budget);
    perf::StepBatch batch;
    batch.add_prefill(chunk, prior, chunk == tokens);
    time += timer.step_time(batch);
    prior += chunk;
    tokens -= chunk;
  }
  return time;
}

kvbm::RecomputeCost recompute_cost(const perf::StepTimer& timer, std::int64_t block) {
  constexpr std::int64_t kFar = 32'768;  // long enough to tell what attention adds
  const std::int64_t near = prefill_time(timer, block, 0, block).count();
  const std::int64_t far = prefill_time(timer, block, kFar, block).count();
  const std::int64_t slope = std::max<std::int64_t>((far - near) * block / kFar, 0);
  return {static_cast<std::uint64_t>(near), static_cast<std::uint64_t>(slope)};
}

std::size_t choose_load(std::span<const LoadOption> options) {
  DYN_ASSERT(!options.empty(), "nothing to choose from");
  const auto best = std::min_element(options.begin(), options.end(),
                                     [](const LoadOption& a, const LoadOption& b) {
                                       return a.load + a.compute < b.load + b.compute;
                                     });
  return static_cast<std::size_t>(best - options.begin());
}

}  // namespace dyn::policy
