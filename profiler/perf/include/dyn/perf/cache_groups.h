#pragma once

#include <algorithm>
#include <cstdint>

#include "dyn/core/engine_config.h"
#include "dyn/core/model_spec.h"

namespace dyn::perf {

/// How an engine's KV cache deals with layers that do not keep the whole context. vLLM's hybrid KV
/// cache manager (v1/core/kv_cache_utils.py, 0.11 to 0.32) puts layers of one kind into groups of
/// equally many; a page of its one pool holds one group's KV of a block of tokens. One group has
/// the layers that keep the whole context; the others recycle their pages as a sequence goes on.
/// Where all layers slide there is but one group, of them.
struct CacheGroups {
  int layers = 0;           ///< of the model's, that a page has KV of
  int whole = 1;            ///< groups that keep the whole context: one, or none where all slide
  int sliding = 0;          ///< groups with a sliding window, a page a block each
  std::int64_t window = 0;  ///< tokens
  int linear = 0;           ///< groups with a state per sequence
  std::int64_t state_blocks =
      0;  ///< pages of one group's state; states are kept at multiples of it

  // SGLang has pools of their own for them, and no groups.
  std::int64_t window_pool = 0;  ///< blocks of the pool of sliding layers; 0: none
  int most_states = 0;           ///< sequences that there are states for; 0: any number

  bool split() const { return sliding > 0 || linear > 0; }
  /// The most blocks that a sequence has in a sliding group while chunks of up to `chunk` tokens of
  /// it are computed (SlidingWindowSpec.max_admission_blocks_per_request).
  std::int64_t window_blocks(std::int64_t chunk, std::int64_t block_size) const {
    return (window - 1 + chunk + block_size - 1) / block_size + 1;
  }
  /// The most pages of all groups that a sequence of `blocks` blocks ever holds.
  std::int64_t all_pages(std::int64_t blocks, std::int64_t chunk, std::int64_t block_size,
                         std::int64_t drafts) const {
    return whole * blocks + most_pages(blocks, chunk, block_size, drafts);
  }
  /// The most pages of these groups that a sequence of `blocks` blocks ever holds: beside its
  /// windows one state to go on from, and a running one for each of `drafts` tokens too.
  std::int64_t most_pages(std::int64_t blocks, std::int64_t chunk, std::int64_t block_size,
                          std::int64_t drafts) const;
  /// Blocks of the pool of sliding layers that a sequence of `tokens` tokens is given, of which up
  /// to `chunk` are computed at a time: never more than there are, which it gets alone.
  std::int64_t pool_blocks(std::int64_t tokens, std::int64_t chunk, std::int64_t block_size) const {
    const std::int64_t blocks = (tokens + block_size - 1) / block_size;
    return std::min({blocks, window_blocks(chunk, block_size), window_pool});
  }
  /// The most sequences of `tokens` tokens that decode at once for all that these pools hold.
  std::int64_t most_sequences(std::int64_t tokens, std::int64_t block_size) const;
  /// The same where nothing is split into groups.
  CacheGroups unsplit() const;
  /// Pages of a decoding sequence beside those of the group that keeps its whole context.
  std::int64_t recycled_pages(std::int64_t tokens, std::int64_t block_size) const;
};

/// The groups of a model in an engine of `tensor` GPUs a stage. None are split off by engines whose
/// memory the model says otherwise (sglang: pools, sized by kv_blocks; trtllm: windows and states
/// are set aside for every sequence), where hybrid_kv_cache is off, and for models of one kind of
/// layer. By default vLLM does not split Llama-4, whose chunks cost it latency.
CacheGroups cache_groups(const ModelSpec& model, Precision kv, int tensor,
                         const EngineConfig& config);

/// Whether the engine is an SGLang that has a pool of their own for a model's sliding layers:
/// is_hybrid_swa_model (model_config.py, 0.5) lists those whose layers it so divides.
bool has_window_pool(const ModelSpec& model, const EngineConfig& config);

/// Whether all attention layers keep the whole context in an engine that could do with less.
bool keeps_windows(const ModelSpec& model, const EngineConfig& config);

}  // namespace dyn::perf
