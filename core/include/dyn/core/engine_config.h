#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace dyn {

/// Limits of one engine's scheduler and KV cache, in vLLM's terms.
struct EngineConfig {
  std::string kind = "vllm";  ///< whose scheduler is followed
  int max_num_seqs = 256;
  std::int64_t max_num_batched_tokens = 8192;  ///< token budget of a step
  int block_size = 64;                         ///< tokens of a KV block
  bool prefix_caching = true;
  bool chunked_prefill = true;
  double memory_utilization = 0.9;            ///< fraction of device memory that the engine may use
  std::optional<std::int64_t> max_model_len;  ///< default the model's context
  std::optional<std::int64_t> kv_blocks;      ///< default what the memory model leaves
  bool operator==(const EngineConfig&) const = default;
};

}  // namespace dyn
