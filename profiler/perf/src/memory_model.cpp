#include "dyn/perf/memory_model.h"

#include <algorithm>
#include <cmath>

#include "model_bytes.h"
#include "operators.h"

namespace dyn::perf {

namespace {

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
  constexpr double kMiB = 1024.0 * 1024.0;
  const int gpus = layout.gpus();
  const double nccl = gpus == 1 ? 0 : (gpus < 4 ? 342 : 392);
  return (460 + nccl) * kMiB;
}

Bytes rounded(double bytes) {
  return Bytes(static_cast<std::int64_t>(std::llround(bytes)));
}

}  // namespace

MemoryUse memory_use(const PerfTarget& target, const GpuSpec& gpu, const EngineConfig& config) {
  check_layout(target.model, target.layout);
  MemoryUse use;
  use.capacity = gpu.memory;
  use.budget = rounded(static_cast<double>(gpu.memory.count()) * config.memory_utilization);
  use.weights = rounded(weight_bytes(target));
  use.activations = rounded(activation_bytes(target, config));
  use.reserve = rounded(reserve_bytes(target.layout));
  use.kv_bytes_per_block = rounded(kv_bytes_per_token(target) * config.block_size);
  const Bytes left = use.budget - use.weights - use.activations - use.reserve;
  if (left.count() <= 0 || use.kv_bytes_per_block.count() <= 0) {
    return use;
  }
  use.kv_blocks = config.kv_blocks.value_or(left.count() / use.kv_bytes_per_block.count());
  return use;
}

}  // namespace dyn::perf
