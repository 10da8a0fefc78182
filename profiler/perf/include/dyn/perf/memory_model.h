#pragma once

#include <cstdint>

#include "dyn/core/gpu_spec.h"
#include "dyn/core/recipe.h"
#include "dyn/perf/perf_model.h"

namespace dyn::perf {

/// Where the memory of one GPU goes.
struct MemoryUse {
  Bytes capacity{0};  ///< of the device
  Bytes budget{0};    ///< capacity * memory_utilization
  Bytes weights{0};
  Bytes activations{0};         ///< peak of a step with max_num_batched_tokens
  Bytes reserve{0};             ///< CUDA context and graphs, NCCL, the engine's own
  Bytes kv_bytes_per_block{0};  ///< on this GPU
  std::int64_t kv_blocks = 0;   ///< blocks of each engine rank; 0 where the weights do not fit
  /// Tokens that the KV cache holds.
  std::int64_t kv_tokens(int block_size) const { return kv_blocks * block_size; }
};

/// The memory of one GPU of an engine, and how many KV blocks the engine would report.
MemoryUse memory_use(const PerfTarget& target, const GpuSpec& gpu, const EngineConfig& config);

}  // namespace dyn::perf
