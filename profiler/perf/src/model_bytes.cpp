#include "model_bytes.h"

#include <algorithm>

namespace dyn::perf {

namespace {

constexpr double kPlain = 2.0;  // bytes of a bf16 value

double attention_values(const ModelSpec& model, double tp) {
  const AttentionSpec& a = model.attention;
  const double hidden = static_cast<double>(model.hidden);
  const double heads = a.heads / tp;
  if (a.kind == AttentionKind::latent) {
    const double qk = a.qk_nope_head_dim + a.qk_rope_head_dim;
    const double queries = a.q_lora_rank > 0 ? hidden * a.q_lora_rank + a.q_lora_rank * heads * qk
                                             : hidden * heads * qk;
    const double down = hidden * (a.kv_lora_rank + a.qk_rope_head_dim);
    const double up = a.kv_lora_rank * heads * (a.qk_nope_head_dim + a.v_head_dim);
    return queries + down + up + heads * a.v_head_dim * hidden;
  }
  const double kv_heads = std::max(1.0, a.kv_heads / tp);
  return hidden * a.head_dim * (2 * heads + 2 * kv_heads);
}

int layers_of_fullest_stage(const PerfTarget& target) {
  const int stages = target.layout.pipeline;
  return (target.model.layers + stages - 1) / stages;
}

}  // namespace

double weight_bytes(const PerfTarget& target) {
  const ModelSpec& model = target.model;
  const double tp = target.layout.tensor;
  const double hidden = static_cast<double>(model.hidden);
  const double matrices = model.gated_mlp ? 3 : 2;
  const double value = bytes_per_value(target.weights);
  const int layers = layers_of_fullest_stage(target);
  int dense = layers;
  double values = layers * attention_values(model, tp);
  double plain = layers * 2 * hidden;
  if (model.moe) {
    const MoeSpec& moe = *model.moe;
    // The leading dense layers are all on the first stage; without them it is as full as any.
    dense = target.layout.pipeline > 1 ? 0 : std::min(moe.dense_layers, layers);
    const double with_experts = layers - dense;
    const double share = target.layout.tensor * target.layout.data;
    const double experts = static_cast<double>(moe.experts) * matrices * hidden *
                           static_cast<double>(moe.expert_intermediate) / share;
    const double shared =
        moe.shared_experts > 0
            ? matrices * hidden * static_cast<double>(moe.shared_intermediate) / tp
            : 0;
    values += with_experts * (experts + shared);
    plain += with_experts * hidden * moe.experts;
  }
  values += dense * matrices * hidden * static_cast<double>(model.intermediate) / tp;
  // One vocabulary matrix is on each end of a pipeline, both on a single stage unless tied.
  const double tables = target.layout.pipeline > 1 || model.tied_embeddings ? 1 : 2;
  plain += tables * static_cast<double>(model.vocabulary) * hidden / tp;
  return values * value + plain * kPlain;
}

double kv_bytes_per_token(const PerfTarget& target) {
  const AttentionSpec& a = target.model.attention;
  const double layers = layers_of_fullest_stage(target);
  const double value = bytes_per_value(target.kv_cache);
  if (a.kind == AttentionKind::latent) {
    return layers * (a.kv_lora_rank + a.qk_rope_head_dim) * value;
  }
  const double kv_heads = std::max(1.0, static_cast<double>(a.kv_heads) / target.layout.tensor);
  return layers * 2 * kv_heads * a.head_dim * value;
}

}  // namespace dyn::perf
