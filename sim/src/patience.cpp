#include "patience.h"

#include <algorithm>

#include "dyn/core/random.h"

namespace dyn::sim {

void draw_patience(const std::optional<CancellationSpec>& spec, std::uint64_t seed,
                   Workload& workload) {
  if (!spec || spec->share <= 0) {
    return;
  }
  RandomStream who(seed, "cancellation/who");
  RandomStream when(seed, "cancellation/when");
  const double mean = to_seconds(spec->after);
  const double variance = spec->cv * spec->cv;
  workload.patience.reserve(workload.requests.size());
  for (std::size_t i = 0; i < workload.requests.size(); ++i) {
    const bool leaves = who.uniform() < spec->share;
    const double seconds = spec->cv > 0 ? when.gamma(1 / variance, mean * variance) : mean;
    workload.patience.push_back(leaves ? std::max(from_seconds(seconds), Duration{1})
                                       : Workload::kPatient);
  }
}

}  // namespace dyn::sim
