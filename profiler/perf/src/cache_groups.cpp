#include "dyn/perf/cache_groups.h"

#include <algorithm>
#include <cmath>

namespace dyn::perf {

namespace {

bool is_vllm(const EngineConfig& config) {
  return config.kind != "sglang" && config.kind != "trtllm";
}

bool is_hybrid(const ModelSpec& model, const EngineConfig& config) {
  const bool chunked = model.architecture.rfind("Llama4", 0) == 0;
  return is_vllm(config) && config.hybrid_kv_cache.value_or(!chunked);
}

int groups_of(int layers, int size) {
  return (layers + size - 1) / size;
}

}  // namespace

std::int64_t CacheGroups::most_pages(std::int64_t blocks, std::int64_t chunk,
                                     std::int64_t block_size, std::int64_t drafts) const {
  return sliding * std::min(blocks, window_blocks(chunk, block_size)) +
         linear * state_blocks * (2 + drafts);
}

std::int64_t CacheGroups::recycled_pages(std::int64_t tokens, std::int64_t block_size) const {
  const std::int64_t blocks = (tokens + block_size - 1) / block_size;
  return sliding * std::min(blocks, window_blocks(1, block_size)) + linear * state_blocks;
}

CacheGroups cache_groups(const ModelSpec& model, Precision kv, int tensor,
                         const EngineConfig& config) {
  CacheGroups groups;
  groups.layers = model.whole_context_layers();
  if (!is_hybrid(model, config) || groups.layers == 0) {
    return groups;
  }
  const int sliding = model.attention_layers() - groups.layers;
  const int linear = model.linear ? model.linear->layers : 0;
  // Where there are few more of the others a page is as large as theirs, and else as many layers as
  // keep the whole context, which in all models but those are the fewest.
  if (const int most = std::max(sliding, linear); most < 1.5 * groups.layers) {
    groups.layers = std::max(groups.layers, most);
  }
  groups.sliding = groups_of(sliding, groups.layers);
  groups.window = groups.sliding > 0 ? model.attention.sliding_window : 0;
  groups.linear = groups_of(linear, groups.layers);
  if (groups.linear > 0) {
    const double state =
        static_cast<double>(model.kv_bytes_per_sequence(kv, tensor).count()) / linear;
    groups.state_blocks = static_cast<std::int64_t>(
        std::ceil(state / (model.kv_bytes_per_layer(kv, tensor) * config.block_size)));
  }
  return groups;
}

bool keeps_windows(const ModelSpec& model, const EngineConfig& config) {
  return is_vllm(config) && !is_hybrid(model, config) &&
         model.whole_context_layers() < model.attention_layers();
}

}  // namespace dyn::perf
