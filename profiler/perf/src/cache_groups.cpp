#include "dyn/perf/cache_groups.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

namespace dyn::perf {

namespace {

bool is_vllm(const EngineConfig& config) {
  return config.kind != "sglang" && config.kind != "trtllm";
}

/// Whether every layer has a sliding window: for vLLM a model of one kind of layer, whose one group
/// is of SlidingWindowSpec.
bool slides_alone(const ModelSpec& model) {
  return model.attention.sliding_window > 0 && !model.linear &&
         model.attention.sliding_layers >= model.layers;
}

bool is_hybrid(const ModelSpec& model, const EngineConfig& config) {
  const bool chunked = model.architecture.rfind("Llama4", 0) == 0;
  return is_vllm(config) && config.hybrid_kv_cache.value_or(!chunked);
}

constexpr std::array<std::string_view, 5> kPooled{"GptOss", "Llama4", "MiMoV2", "Step3p5",
                                                  "Gemma4"};

/// SGLang's pools, as large as kv_blocks makes them.
CacheGroups sglang_pools(const ModelSpec& model, const EngineConfig& config) {
  CacheGroups pools;
  pools.layers = model.whole_context_layers();
  if (has_window_pool(model, config) && config.kv_blocks) {
    const auto blocks = static_cast<double>(*config.kv_blocks);
    pools.window = model.attention.sliding_window;
    pools.window_pool = std::max<std::int64_t>(
        1, std::llround(std::floor(blocks * config.sglang.swa_full_tokens_ratio)));
  }
  if (model.linear && config.sglang.max_mamba_cache_size) {
    pools.most_states = std::max(1, *config.sglang.max_mamba_cache_size /
                                        SglangConfig::states_per_sequence(config.prefix_caching));
  }
  return pools;
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

std::int64_t CacheGroups::most_sequences(std::int64_t tokens, std::int64_t block_size) const {
  std::int64_t most = std::numeric_limits<std::int32_t>::max();
  if (window_pool > 0) {
    most = window_pool / std::max<std::int64_t>(1, pool_blocks(tokens, 1, block_size));
  }
  return most_states > 0 ? std::min<std::int64_t>(most, most_states) : most;
}

CacheGroups CacheGroups::unsplit() const {
  return split() ? CacheGroups{} : *this;
}

CacheGroups cache_groups(const ModelSpec& model, Precision kv, int tensor,
                         const EngineConfig& config) {
  if (config.kind == "sglang") {
    return sglang_pools(model, config);
  }
  CacheGroups groups;
  groups.layers = model.whole_context_layers();
  if (!is_hybrid(model, config) || groups.layers == 0) {
    return groups;
  }
  if (slides_alone(model)) {
    groups.whole = 0;
    groups.sliding = 1;
    groups.window = model.attention.sliding_window;
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

bool has_window_pool(const ModelSpec& model, const EngineConfig& config) {
  const auto named = [&](std::string_view name) { return model.architecture.rfind(name, 0) == 0; };
  return config.kind == "sglang" && config.hybrid_kv_cache.value_or(true) &&
         model.whole_context_layers() < model.attention_layers() &&
         std::any_of(kPooled.begin(), kPooled.end(), named);
}

bool keeps_windows(const ModelSpec& model, const EngineConfig& config) {
  if (model.whole_context_layers() == model.attention_layers()) {
    return model.attention.sliding_window > 0 && model.attention.sliding_layers > 0 &&
           !(slides_alone(model) && is_hybrid(model, config));
  }
  if (config.kind == "trtllm") {
    return false;
  }
  return config.kind == "sglang" ? !has_window_pool(model, config) : !is_hybrid(model, config);
}

}  // namespace dyn::perf
