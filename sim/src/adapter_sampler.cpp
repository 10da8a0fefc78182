#include "adapter_sampler.h"

namespace dyn::sim {

AdapterSampler::AdapterSampler(const AdapterMix& mix, std::uint64_t seed)
    : share_(mix.share), popular_(mix.count, mix.skew), stream_(seed, "adapter") {}

std::uint32_t AdapterSampler::next() {
  // Both are drawn always, so that a larger share changes no adapter.
  const bool uses = stream_.uniform() < share_;
  const std::uint32_t which = popular_.at(stream_.uniform());
  return uses ? which + 1 : 0;
}

}  // namespace dyn::sim
