#include "adapter_sampler.h"

#include <algorithm>

#include "dyn/core/math.h"

namespace dyn::sim {

AdapterSampler::AdapterSampler(const AdapterMix& mix, std::uint64_t seed)
    : share_(mix.share), stream_(seed, "adapter") {
  double sum = 0;
  for (int k = 1; k <= mix.count; ++k) {
    sum += portable_exp(-mix.skew * portable_log(k));
    up_to_.push_back(sum);
  }
}

std::uint32_t AdapterSampler::next() {
  // Both are drawn always, so that a larger share changes no adapter.
  const bool uses = stream_.uniform() < share_;
  const double at = stream_.uniform() * up_to_.back();
  const auto found = std::upper_bound(up_to_.begin(), up_to_.end() - 1, at);
  return uses ? static_cast<std::uint32_t>(found - up_to_.begin()) + 1 : 0;
}

}  // namespace dyn::sim
