#include "dyn/core/model_spec.h"

#include <cmath>

#include "dyn/core/check.h"

namespace dyn {
namespace {

/// Of one layer: projections, their biases and norms.
std::int64_t attention_parameters(const AttentionSpec& a, std::int64_t hidden) {
  const std::int64_t heads = a.heads;
  if (a.kind == AttentionKind::latent) {
    // DeepSeek-V2 report, section 2.1: queries, keys and values through low-rank latents.
    const std::int64_t query_out = heads * (a.qk_nope_head_dim + a.qk_rope_head_dim);
    const std::int64_t query =
        a.q_lora_rank > 0 ? a.q_lora_rank * (hidden + 1 + query_out) : hidden * query_out;
    const std::int64_t latent = hidden * (a.kv_lora_rank + a.qk_rope_head_dim) + a.kv_lora_rank;
    const std::int64_t expand = a.kv_lora_rank * heads * (a.qk_nope_head_dim + a.v_head_dim);
    return query + latent + expand + heads * a.v_head_dim * hidden;
  }
  const std::int64_t outputs = (heads + 2 * std::int64_t{a.kv_heads}) * a.head_dim;
  std::int64_t count = hidden * outputs + heads * a.head_dim * hidden;
  count += a.qkv_bias ? outputs : 0;
  count += a.qk_norm ? 2 * a.head_dim : 0;
  return count;
}

std::int64_t mlp_parameters(const ModelSpec& model, std::int64_t intermediate) {
  return (model.gated_mlp ? 3 : 2) * model.hidden * intermediate;
}

/// All layers, with `experts` of the routed experts of each sparse layer.
std::int64_t layer_parameters(const ModelSpec& model, std::int64_t experts) {
  const std::int64_t norms = 2 * model.hidden;
  std::int64_t count = model.layers * (attention_parameters(model.attention, model.hidden) + norms);
  std::int64_t dense_layers = model.layers;
  if (model.moe) {
    const MoeSpec& moe = *model.moe;
    dense_layers = moe.dense_layers;
    const std::int64_t router = model.hidden * moe.experts;
    const std::int64_t sparse = router + experts * mlp_parameters(model, moe.expert_intermediate) +
                                mlp_parameters(model, moe.shared_intermediate);
    count += (model.layers - dense_layers) * sparse;
  }
  return count + dense_layers * mlp_parameters(model, model.intermediate);
}

std::int64_t embedding_parameters(const ModelSpec& model) {
  return model.vocabulary * model.hidden * (model.tied_embeddings ? 1 : 2);
}

}  // namespace

std::int64_t ModelSpec::parameters() const {
  return layer_parameters(*this, moe ? moe->experts : 0) + embedding_parameters(*this) + hidden;
}

std::int64_t ModelSpec::active_parameters() const {
  return layer_parameters(*this, moe ? moe->experts_per_token : 0) + embedding_parameters(*this) +
         hidden;
}

Bytes ModelSpec::kv_bytes_per_token(Precision kv, int tp) const {
  DYN_ASSERT(tp >= 1, "a tensor-parallel group has a GPU");
  std::int64_t values = 0;
  if (attention.kind == AttentionKind::latent) {
    values = attention.kv_lora_rank + attention.qk_rope_head_dim;
  } else {
    // With more GPUs than heads, heads are replicated: each GPU keeps at least one.
    const std::int64_t heads = (attention.kv_heads + tp - 1) / tp;
    values = 2 * heads * attention.head_dim;
  }
  const double bytes = static_cast<double>(layers * values) * bytes_per_value(kv);
  return Bytes(static_cast<std::int64_t>(std::ceil(bytes)));
}

}  // namespace dyn
