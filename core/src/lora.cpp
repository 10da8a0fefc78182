#include "dyn/core/lora.h"

#include <cmath>

#include "dyn/core/layout.h"
#include "dyn/core/model_spec.h"

namespace dyn {
namespace {

constexpr double kBytesPerWeight = 2;

/// Sums of (in + out) over projections, of which one GPU of `tp` has a part.
struct Widths {
  double whole = 0;
  double per_gpu = 0;

  void outputs_cut(double in, double out, double tp) { add(in, out, in + out / tp); }
  void inputs_cut(double in, double out, double tp) { add(in, out, in / tp + out); }
  void not_cut(double in, double out) { add(in, out, in + out); }

 private:
  void add(double in, double out, double part) {
    whole += in + out;
    per_gpu += part;
  }
};

Widths attention_widths(const ModelSpec& model, double tp) {
  const AttentionSpec& a = model.attention;
  const auto hidden = static_cast<double>(model.hidden);
  const double heads = a.heads;
  Widths w;
  if (a.kind == AttentionKind::latent) {
    if (a.q_lora_rank > 0) {
      w.not_cut(hidden, a.q_lora_rank);
      w.outputs_cut(a.q_lora_rank, heads * a.head_dim, tp);
    } else {
      w.outputs_cut(hidden, heads * a.head_dim, tp);
    }
    w.not_cut(hidden, a.kv_lora_rank + a.qk_rope_head_dim);
    w.outputs_cut(a.kv_lora_rank, heads * (a.qk_nope_head_dim + a.v_head_dim), tp);
    w.inputs_cut(heads * a.v_head_dim, hidden, tp);
    return w;
  }
  const double queries = heads * a.head_dim * (a.output_gate ? 2 : 1);
  w.outputs_cut(hidden, queries, tp);
  w.outputs_cut(hidden, a.kv_heads * a.head_dim, tp);
  w.outputs_cut(hidden, a.kv_heads * a.head_dim, tp);
  w.inputs_cut(heads * a.head_dim, hidden, tp);
  return w;
}

Widths mlp_widths(const ModelSpec& model, std::int64_t intermediate, double tp) {
  const auto hidden = static_cast<double>(model.hidden);
  const auto inner = static_cast<double>(intermediate);
  Widths w;
  for (int i = 0; i < (model.gated_mlp ? 2 : 1); ++i) {
    w.outputs_cut(hidden, inner, tp);
  }
  w.inputs_cut(inner, hidden, tp);
  return w;
}

/// Over all layers.
Widths widths_of(const ModelSpec& model, double tp) {
  Widths sum;
  const auto add = [&sum](const Widths& one, double layers) {
    sum.whole += one.whole * layers;
    sum.per_gpu += one.per_gpu * layers;
  };
  add(attention_widths(model, tp), model.attention_layers());
  const int dense = model.moe ? model.moe->dense_layers : model.layers;
  if (model.intermediate > 0) {
    add(mlp_widths(model, model.intermediate, tp), dense);
  }
  if (model.moe && model.moe->shared_intermediate > 0) {
    add(mlp_widths(model, model.moe->shared_intermediate, tp), model.layers - dense);
  }
  return sum;
}

Bytes rounded_up(double bytes) {
  return Bytes(static_cast<std::int64_t>(std::ceil(bytes)));
}

}  // namespace

Bytes adapter_bytes(const LoraConfig& lora, const ModelSpec& model) {
  return lora.size.value_or(rounded_up(kBytesPerWeight * lora.rank * widths_of(model, 1).whole));
}

Bytes adapter_bytes_per_gpu(const LoraConfig& lora, const ModelSpec& model,
                            const ParallelLayout& layout) {
  const Widths widths = widths_of(model, layout.tensor);
  const double part = widths.whole > 0 ? widths.per_gpu / widths.whole : 1;
  const auto bytes = static_cast<double>(adapter_bytes(lora, model).count());
  return rounded_up(bytes * part / layout.pipeline);
}

}  // namespace dyn
