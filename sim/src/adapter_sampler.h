#pragma once

#include <cstdint>

#include "dyn/core/lora.h"
#include "dyn/core/random.h"
#include "zipf.h"

namespace dyn::sim {

/// Draws the LoRA adapter of each session, from a stream of its own.
class AdapterSampler {
 public:
  AdapterSampler(const AdapterMix& mix, std::uint64_t seed);
  /// From 1, the most used first; 0: none.
  std::uint32_t next();

 private:
  double share_;
  Zipf popular_;
  RandomStream stream_;
};

}  // namespace dyn::sim
