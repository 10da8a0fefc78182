#include "patience.h"

#include <algorithm>

#include "dyn/core/random.h"
#include "waits.h"

namespace dyn::sim {

void draw_patience(const std::optional<CancellationSpec>& spec, std::uint64_t seed,
                   Workload& workload) {
  if (!spec || spec->share <= 0) {
    return;
  }
  workload.patient_once_served = spec->until_first_token;
  RandomStream who(seed, "cancellation/who");
  RandomStream when(seed, "cancellation/when");
  workload.patience.reserve(workload.requests.size());
  for (std::size_t i = 0; i < workload.requests.size(); ++i) {
    const bool leaves = who.uniform() < spec->share;
    const Duration after = draw_wait(when, spec->after, spec->cv);
    workload.patience.push_back(leaves ? std::max(after, Duration{1}) : Workload::kPatient);
  }
}

}  // namespace dyn::sim
