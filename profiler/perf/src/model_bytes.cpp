#include "model_bytes.h"

#include <algorithm>

#include "graph_builder.h"

namespace dyn::perf {

namespace {

constexpr double kPlain = 2.0;  // bytes of a bf16 value

double attention_values(const ModelSpec& model, double tp) {
  const AttentionSpec& a = model.attention;
  const double hidden = static_cast<double>(model.hidden);
  const double heads = shard(a.heads, tp);
  if (a.kind == AttentionKind::latent) {
    const double qk = a.qk_nope_head_dim + a.qk_rope_head_dim;
    const double queries = a.q_lora_rank > 0 ? hidden * a.q_lora_rank + a.q_lora_rank * heads * qk
                                             : hidden * heads * qk;
    const double down = hidden * (a.kv_lora_rank + a.qk_rope_head_dim);
    const double up = a.kv_lora_rank * heads * (a.qk_nope_head_dim + a.v_head_dim);
    return queries + down + up + heads * a.v_head_dim * hidden;
  }
  const double kv_heads = shard(a.kv_heads, tp);
  return hidden * a.head_dim * ((a.output_gate ? 3 : 2) * heads + 2 * kv_heads);
}

double indexer_values(const ModelSpec& model) {
  const AttentionSpec& a = model.attention;
  const double keys = a.index_head_dim;
  return a.q_lora_rank * (a.index_heads * keys) +
         static_cast<double>(model.hidden) * (keys + a.index_heads);
}

double linear_values(const ModelSpec& model, double tp) {
  const LinearAttentionSpec& l = *model.linear;
  const double in = static_cast<double>(l.key_values() + 2 * l.values() + 2 * l.value_heads);
  const double convolution =
      static_cast<double>(l.key_values() + l.values()) * static_cast<double>(l.conv_kernel);
  const double hidden = static_cast<double>(model.hidden);
  return (hidden * in + convolution + static_cast<double>(l.values()) * hidden) / tp;
}

/// `layers` of the model's on the fullest stage.
double staged(double layers, const PerfTarget& target) {
  return shard(layers, target.layout.pipeline);
}

/// All layers of the fullest stage.
double layer_bytes(const PerfTarget& target) {
  const ModelSpec& model = target.model;
  const WeightFormats formats = weight_formats(target);
  const double tp = target.layout.tensor;
  const double hidden = static_cast<double>(model.hidden);
  const double matrices = model.gated_mlp ? 3 : 2;
  const double layers = staged(model.layers, target);
  const double linear = model.linear ? staged(model.linear->layers, target) : 0;
  double attention = (layers - linear) * attention_values(model, tp);
  if (linear > 0) {
    attention += linear * linear_values(model, tp);
  }
  double plain = layers * 2 * hidden;
  if (model.attention.index_layers > 0) {
    plain += staged(model.attention.index_layers, target) * indexer_values(model);
  }
  double dense = layers;
  double bytes = 0;
  if (model.moe) {
    const MoeSpec& moe = *model.moe;
    // Leading dense layers are all on the first stage; without them it is as full as any.
    dense = moe.dense_spread || target.layout.pipeline == 1 ? staged(moe.dense_layers, target) : 0;
    dense = std::min(dense, layers);
    const double with_experts = layers - dense;
    const double expert_tensor =
        static_cast<double>(target.layout.tensor * target.layout.data) / target.layout.expert;
    const double experts = shard(moe.experts, target.layout.expert) * matrices * hidden *
                           shard(static_cast<double>(moe.expert_intermediate), expert_tensor);
    const double shared = matrices * hidden * static_cast<double>(moe.shared_intermediate) / tp;
    bytes += with_experts * (experts * model.bytes_per_weight(formats.experts) +
                             shared * model.bytes_per_weight(formats.dense));
    plain += with_experts * hidden * moe.experts;
  }
  const double mlp = matrices * hidden * shard(static_cast<double>(model.intermediate), tp);
  return bytes + dense * mlp * model.bytes_per_weight(formats.dense) +
         attention * model.bytes_per_weight(formats.attention) + plain * kPlain;
}

/// Draft layers as a target of their own.
PerfTarget draft_target(const PerfTarget& target) {
  PerfTarget draft = target;
  draft.model = draft_layer(target.model, target.speculation->kind);
  draft.layout.pipeline = 1;
  draft.speculation.reset();
  if (target.speculation->kind == SpeculationKind::eagle) {
    draft.weights = Precision::bf16;
    draft.attention_weights.reset();
    draft.expert_weights.reset();
    draft.layout.data = 1;
    draft.layout.expert = 1;
  }
  return draft;
}

}  // namespace

double weight_bytes(const PerfTarget& target) {
  const ModelSpec& model = target.model;
  const double hidden = static_cast<double>(model.hidden);
  // One vocabulary matrix is on each end of a pipeline, both on a single stage unless tied.
  const double tables = target.layout.pipeline > 1 || model.tied_embeddings ? 1 : 2;
  const double vocabulary =
      tables * shard(static_cast<double>(model.vocabulary), target.layout.tensor) * hidden;
  double bytes = layer_bytes(target) + vocabulary * kPlain;
  if (target.speculation) {
    // The token's embedding and the model's hidden state, EAGLE-3's of three layers.
    const double inputs = target.speculation->kind == SpeculationKind::eagle ? 4 : 2;
    bytes += layer_bytes(draft_target(target)) + inputs * hidden * hidden * kPlain;
  }
  return bytes;
}

double kv_bytes_per_token(const PerfTarget& target) {
  const ModelSpec& model = target.model;
  const int tp = target.layout.tensor;
  const double index = model.attention.index_head_dim + 4.0;
  double bytes =
      staged(model.whole_context_layers(), target) * model.kv_bytes_per_layer(target.kv_cache, tp);
  bytes += staged(model.attention.index_layers, target) * index;
  if (target.speculation) {
    bytes += kv_bytes_per_token(draft_target(target));
  }
  return bytes;
}

double page_bytes_per_token(const PerfTarget& target, int layers) {
  return std::max(kv_bytes_per_token(target), layer_bytes_per_token(target, layers));
}

double layer_bytes_per_token(const PerfTarget& target, int layers) {
  return staged(layers, target) *
         target.model.kv_bytes_per_layer(target.kv_cache, target.layout.tensor);
}

double kv_bytes_per_sequence(const PerfTarget& target) {
  const Bytes bytes = target.model.kv_bytes_per_sequence(target.kv_cache, target.layout.tensor);
  return static_cast<double>(bytes.count()) / target.layout.pipeline;
}

double state_bytes_per_sequence(const PerfTarget& target) {
  return static_cast<double>(target.model.state_bytes(target.layout.tensor).count()) /
         target.layout.pipeline;
}

}  // namespace dyn::perf
