#include "spread.h"

#include <algorithm>
#include <cmath>

#include "dyn/core/random.h"

namespace dyn::sim {
namespace {

/// The median distance between neighbouring distinct arrivals; 0 if there is but one.
Duration median_gap(const std::vector<WorkloadRequest>& requests) {
  std::vector<Duration> gaps;
  for (std::size_t i = 1; i < requests.size(); ++i) {
    if (requests[i].arrival != requests[i - 1].arrival) {
      gaps.push_back(requests[i].arrival - requests[i - 1].arrival);
    }
  }
  if (gaps.empty()) {
    return Duration{0};
  }
  const auto middle = gaps.begin() + static_cast<std::ptrdiff_t>(gaps.size() / 2);
  std::nth_element(gaps.begin(), middle, gaps.end());
  return *middle;
}

}  // namespace

void spread_ticks(std::vector<WorkloadRequest>& requests, std::uint64_t seed) {
  RandomStream jitter(seed, "tick_jitter");
  const Duration median = median_gap(requests);
  std::vector<double> offsets;
  for (std::size_t first = 0; first < requests.size();) {
    const SimTime tick = requests[first].arrival;
    std::size_t end = first + 1;
    while (end < requests.size() && requests[end].arrival == tick) {
      ++end;
    }
    const Duration width =
        end < requests.size() ? std::min(median, requests[end].arrival - tick) : median;
    if (end - first > 1) {
      offsets.resize(end - first);
      for (double& offset : offsets) {
        offset = jitter.uniform();
      }
      std::sort(offsets.begin(), offsets.end());
      for (std::size_t i = first; i < end; ++i) {
        const double nanos = offsets[i - first] * static_cast<double>(width.count());
        requests[i].arrival = tick + Duration(static_cast<std::int64_t>(nanos));
      }
    }
    first = end;
  }
}

}  // namespace dyn::sim
