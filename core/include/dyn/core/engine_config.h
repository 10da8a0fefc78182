#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "dyn/core/lora.h"

namespace dyn {

enum class DraftKind {
  mtp,    ///< the model's own draft layers
  eagle,  ///< EAGLE: one dense layer trained beside the model
};

/// Speculative decoding: in each step a sequence has 1 + draft_tokens tokens computed and keeps
/// acceptance_length of them on average, spread evenly over the steps.
struct SpeculationConfig {
  DraftKind kind = DraftKind::mtp;
  int draft_tokens = 1;                     ///< >= 1
  std::optional<double> acceptance_length;  ///< [1, 1 + draft_tokens]; default as measured
  bool operator==(const SpeculationConfig&) const = default;
};

enum class QueuePolicy {
  fcfs,      ///< first come, first served
  priority,  ///< by priority, then by arrival; preempts who is least urgent
};

enum class SchedulePolicy {
  fcfs,  ///< first come, first served
  lpm,   ///< the longest prefix in the cache first
};

/// What SGLang's scheduler has and the others have not.
struct SglangConfig {
  double schedule_conservativeness = 1.0;   ///< factor of the output that is expected to come
  std::int64_t clip_max_new_tokens = 4096;  ///< output of a request beyond this is not expected
  SchedulePolicy schedule_policy = SchedulePolicy::fcfs;
  std::int64_t max_prefill_tokens = 16384;  ///< of a step, but for one longer prompt that has it
  double swa_full_tokens_ratio = 0.8;       ///< tokens of the pool of sliding layers to the others'
  double mamba_full_memory_ratio = 0.9;     ///< memory of linear states to that of KV
  std::optional<int> max_mamba_cache_size;  ///< states; default by mamba_full_memory_ratio

  /// Of those states, how many there must be for each sequence that runs: with a prefix cache that
  /// keeps states two more than its own.
  static constexpr int states_per_sequence(bool prefix_caching) { return prefix_caching ? 3 : 1; }
  bool operator==(const SglangConfig&) const = default;
};

enum class CapacityPolicy {
  guaranteed_no_evict,  ///< admits only what fits to its last token
  max_utilization,      ///< admits what fits now; may have to preempt
};

/// Which block leaves a full cache (kvbm/eviction.h says how each decides).
enum class EvictionKind { lru, s3_fifo, tiny_lfu, cost_aware, belady };

/// Limits of one engine's scheduler and KV cache, in vLLM's terms.
struct EngineConfig {
  std::string kind = "vllm";           ///< whose scheduler is followed
  std::optional<std::string> version;  ///< such as 0.19.0; default the newest that a profile knows
  int max_num_seqs = 256;
  std::int64_t max_num_batched_tokens = 8192;  ///< token budget of a step
  int block_size = 64;                         ///< tokens of a KV block
  bool prefix_caching = true;
  EvictionKind cache_eviction = EvictionKind::lru;  ///< of the device's blocks; not belady
  bool chunked_prefill = true;
  double memory_utilization = 0.9;            ///< fraction of device memory that the engine may use
  std::optional<std::int64_t> max_model_len;  ///< default the model's context
  std::optional<std::int64_t> kv_blocks;      ///< default what the memory model leaves
  std::optional<bool> hybrid_kv_cache;        ///< default as the engine decides itself
  QueuePolicy queue = QueuePolicy::fcfs;
  std::optional<SpeculationConfig> speculation;
  std::optional<LoraConfig> lora;  ///< none: no adapters
  SglangConfig sglang;
  CapacityPolicy capacity = CapacityPolicy::guaranteed_no_evict;  ///< of trtllm
  bool operator==(const EngineConfig&) const = default;
};

}  // namespace dyn
