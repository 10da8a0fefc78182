#pragma once

#include <cstdint>
#include <vector>

#include "dyn/core/lora.h"
#include "dyn/core/random.h"

namespace dyn::sim {

/// Draws the LoRA adapter of each session, from a stream of its own.
class AdapterSampler {
 public:
  AdapterSampler(const AdapterMix& mix, std::uint64_t seed);
  /// From 1, the most used first; 0: none.
  std::uint32_t next();

 private:
  double share_;
  std::vector<double> up_to_;  ///< weight of an adapter and those before
  RandomStream stream_;
};

}  // namespace dyn::sim
