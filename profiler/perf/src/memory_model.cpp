#include "dyn/perf/memory_model.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "dyn/core/engine_version.h"
#include "dyn/perf/cache_groups.h"
#include "model_bytes.h"
#include "operators.h"

namespace dyn::perf {

namespace {

constexpr double kMiB = 1024.0 * 1024.0;

/// Peak of a profiling step with `tokens` tokens: the widest layer's tensors in bf16 (input and
/// output of the MLP or of the attention projections, and the residual stream), then sampling of
/// max_num_seqs rows of logits, of which vLLM keeps four fp32-sized copies while it sorts.
double activation_bytes(const PerfTarget& target, const EngineConfig& config) {
  const ModelSpec& model = target.model;
  const double tp = target.layout.tensor;
  const double hidden = static_cast<double>(model.hidden);
  const double tokens = static_cast<double>(config.max_num_batched_tokens);
  double widest = 3 * static_cast<double>(model.intermediate) / tp;
  if (model.moe) {
    const MoeSpec& moe = *model.moe;
    const double sharing =
        static_cast<double>(target.layout.tensor * target.layout.data) / target.layout.expert;
    // Tokens of all attention-DP ranks meet here, of which each expert rank gets its share.
    const double rows =
        static_cast<double>(moe.experts_per_token) * target.layout.data / target.layout.expert;
    widest = std::max(widest,
                      rows * (3 * static_cast<double>(moe.expert_intermediate) / sharing + hidden));
  }
  const AttentionSpec& a = model.attention;
  const double heads = 2 * static_cast<double>(a.heads) * a.head_dim / tp;
  const double layer = tokens * (std::max(widest, heads) + 4 * hidden) * 2;
  const double rows = std::min<double>(config.max_num_seqs, tokens);
  const double sampling = rows * static_cast<double>(model.vocabulary) * 4 * 4;
  return layer + sampling;
}

/// What is not PyTorch's: CUDA context, kernels and captured graphs (0.45 GiB in a run of vLLM
/// 0.19 on an RTX 4090: what 2588 blocks of Llama-3.1-8B leave unexplained), and NCCL's buffers
/// (342 MiB for two GPUs, 392 MiB for four and more: AIConfigurator's system files, Apache-2.0).
double reserve_bytes(const ParallelLayout& layout) {
  const int gpus = layout.gpus();
  const double nccl = gpus == 1 ? 0 : (gpus < 4 ? 342 : 392);
  return (460 + nccl) * kMiB;
}

Bytes rounded(double bytes) {
  return Bytes(static_cast<std::int64_t>(std::llround(bytes)));
}

bool is_default(const EngineConfig& config) {
  return config.memory_utilization == EngineConfig{}.memory_utilization;
}

/// SGLang 0.5, ServerArgs._handle_gpu_memory_settings: what it keeps out of weights and cache, for
/// activations of a prefill chunk and CUDA graphs by batch size.
double sglang_reserve(const PerfTarget& target, double capacity) {
  const double mebibytes = capacity / kMiB;
  const ParallelLayout& layout = target.layout;
  const bool narrow = layout.tensor * layout.data < 4;
  double chunk = 16384;
  double graphs = 512;
  if (mebibytes < 35 * 1024) {
    chunk = 2048;
    graphs = mebibytes < 20 * 1024 ? 8 : (narrow ? 24 : 80);
  } else if (mebibytes < 60 * 1024) {
    chunk = 4096;
    graphs = narrow ? 32 : 160;
  } else if (mebibytes < 160 * 1024) {
    chunk = 8192;
    graphs = narrow ? 256 : 512;
  }
  double reserve =
      512 + 1.5 * chunk + 2 * graphs + layout.tensor * layout.data * layout.pipeline / 8.0 * 1024;
  if (layout.data > 1) {
    reserve += (graphs > 300 ? 4.5 : 3) * graphs * layout.data;
  }
  if (mebibytes > 60 * 1024) {
    reserve = std::max(reserve, 10.0 * 1024);
  }
  return (reserve + (target.speculation ? 2048 : 0)) * kMiB;
}

/// What is left for KV and sequence states; `use` has everything else but the budget.
double cache_bytes(const PerfTarget& target, const EngineConfig& config, const MemoryUse& use) {
  const double capacity = static_cast<double>(use.capacity.count());
  const double weights = static_cast<double>(use.weights.count());
  const double others = static_cast<double>((use.activations + use.reserve).count());
  const double fraction = config.memory_utilization;
  if (target.engine == "trtllm") {
    return fraction * (capacity - weights - others);
  }
  if (target.engine == "sglang") {
    // The fraction is of what is free before weights are loaded.
    const double free = capacity - static_cast<double>(use.reserve.count());
    if (!is_default(config)) {
      return fraction * free - weights;
    }
    const double by_rule = free * (1 - sglang_reserve(target, capacity) / capacity) - weights;
    return std::max(by_rule, std::min(0.95 * capacity - weights, 0.04 * capacity));
  }
  const bool later =
      is_default(config) && version_numbers(target.engine_version) >= std::vector{0, 22};
  return (later ? 0.92 : fraction) * capacity - weights - others;
}

/// Bytes of KV that a token takes where each layer keeps it or, in SGLang's pool of sliding layers,
/// a share of the tokens is kept.
double bytes_per_token(const PerfTarget& target, const EngineConfig& config) {
  const ModelSpec& model = target.model;
  const int attention = model.attention_layers();
  if (keeps_windows(model, config)) {
    return page_bytes_per_token(target, attention);
  }
  const int layers = cache_groups(model, target.kv_cache, target.layout.tensor, config).layers;
  const double whole = page_bytes_per_token(target, layers);
  return has_window_pool(model, config)
             ? whole + config.sglang.swa_full_tokens_ratio *
                           layer_bytes_per_token(target, attention - layers)
             : whole;
}

/// Bytes of each sequence beside its KV blocks.
double state_set_aside(const PerfTarget& target, const EngineConfig& config) {
  const ModelSpec& model = target.model;
  if (cache_groups(model, target.kv_cache, target.layout.tensor, config).split()) {
    return 0;
  }
  if (config.kind == "sglang") {
    return state_bytes_per_sequence(target);
  }
  return keeps_windows(model, config) ? 0 : kv_bytes_per_sequence(target);
}

/// Sizes SGLang's pool of linear states of `state` bytes; drafted tokens have states of their own
/// for every sequence that runs. Of `left` bytes for it and KV.
void size_states(double left, double state, const EngineConfig& config, MemoryUse& use) {
  const SglangConfig& sglang = config.sglang;
  const int each = SglangConfig::states_per_sequence(config.prefix_caching);
  const double drafts = config.speculation ? config.speculation->draft_tokens : 0;
  double states = config.max_num_seqs;
  if (sglang.max_mamba_cache_size) {
    states = *sglang.max_mamba_cache_size;
  } else if (config.prefix_caching) {
    const double budget =
        left * sglang.mamba_full_memory_ratio / (1 + sglang.mamba_full_memory_ratio);
    states = std::min<double>(std::floor(budget / (state * (1 + drafts / each))), INT32_MAX);
  }
  use.states = static_cast<int>(states);
  use.sequences = std::min(config.max_num_seqs, use.states / each);
  use.sequence_state = rounded((states + drafts * use.sequences) * state);
}

}  // namespace

MemoryUse memory_use(const PerfTarget& target, const GpuSpec& gpu, const EngineConfig& config) {
  check_layout(target.model, target.layout);
  MemoryUse use;
  use.capacity = gpu.memory;
  use.weights = rounded(weight_bytes(target));
  if (target.encodes_images && target.model.vision) {
    const auto encoder = static_cast<double>(target.model.vision->parameters(target.model.hidden));
    use.weights += rounded(2 * encoder / target.layout.tensor);
  }
  use.activations = rounded(activation_bytes(target, config));
  use.reserve = rounded(reserve_bytes(target.layout));
  if (config.lora) {
    use.reserve += adapter_bytes_per_gpu(*config.lora, target.model, target.layout) *
                   std::int64_t{config.lora->slots};
  }
  use.kv_bytes_per_block = rounded(bytes_per_token(target, config) * config.block_size);
  const double left = cache_bytes(target, config, use);
  const double taken = static_cast<double>((use.weights + use.activations + use.reserve).count());
  use.budget =
      rounded(left > 0 ? taken + left
                       : config.memory_utilization * static_cast<double>(use.capacity.count()));
  if (left <= 0 || use.kv_bytes_per_block.count() <= 0) {
    return use;
  }
  use.sequences = config.max_num_seqs;
  const double state = state_set_aside(target, config);
  if (state > 0 && config.kind == "sglang") {
    size_states(left, state, config, use);
  } else if (state > 0) {
    // For every sequence that may run, but for no more than half of the cache: engines admit fewer
    // sequences then.
    const double most = std::max(1.0, std::floor(left / 2 / state));
    use.sequences = static_cast<int>(std::min<double>(config.max_num_seqs, most));
    use.sequence_state = rounded(use.sequences * state);
  }
  const double blocks = (left - static_cast<double>(use.sequence_state.count())) /
                        static_cast<double>(use.kv_bytes_per_block.count());
  if (blocks >= 1 && use.sequences > 0) {
    use.kv_blocks = config.kv_blocks.value_or(static_cast<std::int64_t>(blocks));
    EngineConfig sized = config;
    sized.kv_blocks = use.kv_blocks;
    use.window_blocks =
        cache_groups(target.model, target.kv_cache, target.layout.tensor, sized).window_pool;
  }
  return use;
}

}  // namespace dyn::perf
