#pragma once

#include <cstdint>

#include "dyn/core/gpu_spec.h"
#include "dyn/core/recipe.h"
#include "dyn/perf/perf_model.h"

namespace dyn::perf {

/// Where the memory of one GPU goes.
struct MemoryUse {
  Bytes capacity{0};  ///< of the device
  Bytes budget{0};    ///< what the engine may use in all
  Bytes weights{0};
  Bytes activations{0};            ///< peak of a step with max_num_batched_tokens
  Bytes reserve{0};                ///< CUDA context and graphs, NCCL, LoRA slots, the engine's own
  Bytes sequence_state{0};         ///< sliding windows and linear states of `sequences`
  Bytes kv_bytes_per_block{0};     ///< on this GPU; with SGLang's share of sliding layers for it
  std::int64_t kv_blocks = 0;      ///< blocks of each engine rank; 0 where the weights do not fit
  std::int64_t window_blocks = 0;  ///< of SGLang's pool of sliding layers; 0: it has none
  int states = 0;                  ///< of linear layers that SGLang's pool of them holds
  int sequences = 0;               ///< at most max_num_seqs, whose state is set aside
  /// Tokens that the KV cache holds.
  std::int64_t kv_tokens(int block_size) const { return kv_blocks * block_size; }
};

/// The memory of one GPU of an engine, and how many KV blocks the engine would report. What
/// memory_utilization is a fraction of depends on the engine:
/// - vllm (and any other): of the device, for everything (gpu_memory_utilization). The default of
///   0.9 stands for 0.92 from vLLM 0.22 on.
/// - sglang: of the device, for weights and cache (mem_fraction_static). The default stands for
///   SGLang's own rule, raised up to 0.95 where that would leave no cache. Layers with sliding
///   windows share it with the others so that their pool has swa_full_tokens_ratio times as many
///   tokens; linear states get mamba_full_memory_ratio / (1 + that) of it, or max_mamba_cache_size
///   (model_runner_kv_cache_mixin.py, 0.5: set_num_tokens_hybrid_swa, handle_max_mamba_cache).
/// - trtllm: of what weights and activations leave (free_gpu_memory_fraction).
MemoryUse memory_use(const PerfTarget& target, const GpuSpec& gpu, const EngineConfig& config);

}  // namespace dyn::perf
