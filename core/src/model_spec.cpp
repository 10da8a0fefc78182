#include "dyn/core/model_spec.h"

#include <algorithm>
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
  const std::int64_t queries = a.output_gate ? 2 * heads : heads;
  const std::int64_t outputs = (queries + 2 * std::int64_t{a.kv_heads}) * a.head_dim;
  std::int64_t count = hidden * outputs + heads * a.head_dim * hidden;
  count += a.qkv_bias ? outputs : 0;
  count += a.qk_norm ? 2 * a.head_dim : 0;
  return count;
}

/// DeepSeek-V3.2 report, section 2.1: queries from the query latent, one key, a weight per head.
std::int64_t indexer_parameters(const AttentionSpec& a, std::int64_t hidden) {
  return std::int64_t{a.q_lora_rank} * a.index_heads * a.index_head_dim +
         hidden * (a.index_head_dim + a.index_heads);
}

/// Projections of queries, keys, values, gate, decay and step; the convolution; the output.
std::int64_t linear_parameters(const LinearAttentionSpec& l, std::int64_t hidden) {
  const std::int64_t in = l.key_values() + 2 * l.values() + 2 * std::int64_t{l.value_heads};
  const std::int64_t convolution = (l.key_values() + l.values()) * l.conv_kernel;
  return hidden * in + convolution + 2 * std::int64_t{l.value_heads} + l.value_head_dim +
         l.values() * hidden;
}

std::int64_t mlp_parameters(const ModelSpec& model, std::int64_t intermediate) {
  return (model.gated_mlp ? 3 : 2) * model.hidden * intermediate;
}

/// All layers, with `experts` of the routed experts of each sparse layer.
std::int64_t layer_parameters(const ModelSpec& model, std::int64_t experts) {
  const std::int64_t norms = 2 * model.hidden;
  const AttentionSpec& attention = model.attention;
  std::int64_t count = model.layers * norms +
                       model.attention_layers() * attention_parameters(attention, model.hidden) +
                       attention.index_layers * indexer_parameters(attention, model.hidden);
  if (model.linear) {
    count += model.linear->layers * linear_parameters(*model.linear, model.hidden);
  }
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

/// Fp32 states and bf16 convolution inputs of all linear layers on one GPU of `tp`.
double linear_state_bytes(const LinearAttentionSpec& linear, int tp) {
  const double heads = std::max(1.0, static_cast<double>(linear.value_heads) / tp);
  const double state = heads * linear.key_head_dim * linear.value_head_dim * 4;
  const double channels = static_cast<double>(linear.key_values() + linear.values()) / tp;
  return linear.layers * (state + channels * (linear.conv_kernel - 1) * 2);
}

Bytes whole(double bytes) {
  return Bytes(static_cast<std::int64_t>(std::ceil(bytes)));
}

}  // namespace

std::int64_t ModelSpec::parameters() const {
  return layer_parameters(*this, moe ? moe->experts : 0) + embedding_parameters(*this) + hidden;
}

std::int64_t ModelSpec::active_parameters() const {
  return layer_parameters(*this, moe ? moe->experts_per_token : 0) + embedding_parameters(*this) +
         hidden;
}

double ModelSpec::bytes_per_weight(Precision weights) const {
  return weights == Precision::int4 ? 0.5 + 2.0 / int4_group : bytes_per_value(weights);
}

int ModelSpec::whole_context_layers() const {
  const int rest = attention_layers() - attention.sliding_layers;
  return attention.sliding_window > 0 && rest > 0 ? rest : attention_layers();
}

double ModelSpec::kv_bytes_per_layer(Precision kv, int tp) const {
  DYN_ASSERT(tp >= 1, "a tensor-parallel group has a GPU");
  if (attention.kind == AttentionKind::latent) {
    const int latent = attention.kv_lora_rank;
    const int rope = attention.qk_rope_head_dim;
    if (attention.index_topk > 0 && kv == Precision::fp8) {
      // FlashMLA's layout for sparse attention: an fp32 scale per 128 values, rope in bf16.
      return latent + 4.0 * latent / 128 + 2.0 * rope;
    }
    return (latent + rope) * bytes_per_value(kv);
  }
  // With more GPUs than heads, heads are replicated: each GPU keeps at least one.
  const std::int64_t heads = (attention.kv_heads + tp - 1) / tp;
  return static_cast<double>(2 * heads * attention.head_dim) * bytes_per_value(kv);
}

Bytes ModelSpec::kv_bytes_per_token(Precision kv, int tp) const {
  const double index = attention.index_layers * (attention.index_head_dim + 4.0);
  const double bytes = whole_context_layers() * kv_bytes_per_layer(kv, tp) + index;
  return whole(bytes);
}

Bytes ModelSpec::kv_bytes_per_sequence(Precision kv, int tp) const {
  double bytes = 0;
  if (whole_context_layers() < attention_layers()) {
    bytes += kv_bytes_per_layer(kv, tp) * attention.sliding_layers * attention.sliding_window;
  }
  if (linear) {
    bytes += linear_state_bytes(*linear, tp);
  }
  return whole(bytes);
}

Bytes ModelSpec::state_bytes(int tp) const {
  return whole(linear ? linear_state_bytes(*linear, tp) : 0);
}

}  // namespace dyn
