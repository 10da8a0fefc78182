#include <algorithm>
#include <utility>

#include "graph_builder.h"

// The attention of a layer: grouped heads, MLA, MLA with an indexer (DSA), gated delta rule.

namespace dyn::perf {

void GraphBuilder::add_attention() {
  // Two fused residual-add and norm kernels a layer, each reading and writing both streams.
  add_bytes("norms", layers_, 2 * 4 * hidden() * kActivation, 2);
  if (linear_layers_ > 0) {
    add_linear_attention();
  }
  if (attention_layers_ > 0) {
    if (model_.attention.index_topk > 0) {
      add_sparse_attention();
    } else if (model_.attention.kind == AttentionKind::latent) {
      add_latent_projections();
    } else {
      add_grouped_projections();
    }
  }
  add_all_reduce("attention_all_reduce", layers_, layout_.tensor, hidden() * kActivation);
}

Operator GraphBuilder::attention_operator(const std::string& name, double layers) const {
  const AttentionSpec& attention = model_.attention;
  Operator op;
  op.name = name;
  op.count = layers;
  op.kv_cache = target_.kv_cache;
  op.shape.heads = heads();
  op.shape.head_dim = attention.head_dim;
  op.shape.kv_group = static_cast<int>(
      heads() / std::max(1.0, static_cast<double>(attention.kv_heads) / layout_.tensor));
  return op;
}

/// Adds both, decode with the rows that a sequence has in a step.
void GraphBuilder::add_pair(Operator prefill, Operator decode) {
  prefill.driver = Driver::prefill;
  decode.driver = Driver::decode;
  decode.flops *= decode_rows_;
  decode.row_flops *= decode_rows_;
  decode.index_flops *= decode_rows_;
  decode.row_bytes *= decode_rows_;
  add(std::move(prefill));
  add(std::move(decode));
}

void GraphBuilder::add_grouped_projections() {
  const AttentionSpec& attention = model_.attention;
  const double layers = attention_layers_;
  const double kv_heads = shard(attention.kv_heads, tp());
  const double q = heads() * attention.head_dim;
  const double kv = kv_heads * attention.head_dim;
  add_gemm("qkv_gemm", layers, hidden(), (attention.output_gate ? 2 : 1) * q + 2 * kv,
           formats_.attention);
  const double rotated = 2 * (q + kv) * kActivation;
  const double written = 2 * kv * (kActivation + bytes_per_value(target_.kv_cache));
  add_bytes("rope_and_kv_write", layers, rotated * (attention.qk_norm ? 2 : 1) + written,
            attention.qk_norm ? 3 : 2);
  add_grouped_kernels();
  if (attention.output_gate) {
    add_bytes("attention_gate", layers, 3 * q * kActivation, 1);
  }
  add_gemm("o_gemm", layers, q, hidden(), formats_.attention);
}

void GraphBuilder::add_grouped_kernels() {
  const AttentionSpec& attention = model_.attention;
  double sliding = 0;
  if (attention.sliding_window > 0) {
    sliding = std::min(attention_layers_, static_cast<double>(attention.sliding_layers));
  }
  if (attention_layers_ - sliding > 0) {
    add_grouped_kernel("", attention_layers_ - sliding, 0);
  }
  if (sliding > 0) {
    add_grouped_kernel("_sliding", sliding, attention.sliding_window);
  }
}

void GraphBuilder::add_grouped_kernel(const std::string& suffix, double layers, int window) {
  const AttentionSpec& attention = model_.attention;
  const double kv_heads = shard(attention.kv_heads, tp());
  Operator prefill = attention_operator("attention_prefill" + suffix, layers);
  prefill.kind = OperatorKind::attention_prefill;
  prefill.window = window;
  prefill.flops = 4 * heads() * attention.head_dim;
  prefill.bytes = 2 * kv_heads * attention.head_dim * bytes_per_value(target_.kv_cache);
  prefill.row_bytes = 2 * heads() * attention.head_dim * kActivation;
  Operator decode = prefill;
  decode.name = "attention_decode" + suffix;
  decode.kind = OperatorKind::attention_decode;
  add_pair(std::move(prefill), std::move(decode));
}

void GraphBuilder::add_latent_projections() {
  const AttentionSpec& attention = model_.attention;
  const double layers = attention_layers_;
  const Precision weights = formats_.attention;
  const double qk = attention.qk_nope_head_dim + attention.qk_rope_head_dim;
  const double latent = attention.kv_lora_rank + attention.qk_rope_head_dim;
  // Down-projections are replicated, up-projections sharded by head.
  if (attention.q_lora_rank > 0) {
    add_gemm("qkv_down_gemm", layers, hidden(), attention.q_lora_rank + latent, weights);
    add_bytes("latent_norms", layers, 2 * (attention.q_lora_rank + latent) * kActivation, 1);
    add_gemm("q_up_gemm", layers, attention.q_lora_rank, heads() * qk, weights);
  } else {
    add_gemm("q_gemm", layers, hidden(), heads() * qk, weights);
    add_gemm("kv_down_gemm", layers, hidden(), latent, weights);
  }
  // Absorbed into queries and outputs when decoding, applied to keys and values in prefill: the
  // same work per token either way.
  add_gemm("kv_up_gemm", layers, attention.kv_lora_rank,
           heads() * (attention.qk_nope_head_dim + attention.v_head_dim), weights);
  add_bytes("rope_and_kv_write", layers,
            (2 * heads() * attention.qk_rope_head_dim + 4 * latent) * kActivation, 3);
  add_latent_kernels();
  add_gemm("o_gemm", layers, heads() * attention.v_head_dim, hidden(), weights);
}

void GraphBuilder::add_latent_kernels() {
  const AttentionSpec& attention = model_.attention;
  const double latent = attention.kv_lora_rank + attention.qk_rope_head_dim;
  const double qk = attention.qk_nope_head_dim + attention.qk_rope_head_dim;
  Operator prefill = attention_operator("attention_prefill", attention_layers_);
  prefill.kind = OperatorKind::latent_prefill;
  prefill.flops = 2 * heads() * (qk + attention.v_head_dim);
  prefill.bytes = model_.kv_bytes_per_layer(target_.kv_cache, 1);
  // Keys and values of earlier chunks are expanded from their latents again.
  prefill.context_flops =
      2 * attention.kv_lora_rank * heads() * (attention.qk_nope_head_dim + attention.v_head_dim);
  prefill.row_bytes = heads() * (qk + attention.v_head_dim) * kActivation;
  Operator decode = attention_operator("attention_decode", attention_layers_);
  decode.kind = OperatorKind::latent_decode;
  decode.flops = 2 * heads() * (latent + attention.kv_lora_rank);
  decode.bytes = prefill.bytes;
  decode.row_bytes = heads() * (latent + attention.kv_lora_rank) * kActivation;
  add_pair(std::move(prefill), std::move(decode));
}

void GraphBuilder::add_sparse_attention() {
  const double with_indexer = std::min<double>(attention_layers_, model_.attention.index_layers);
  add_sparse_kernels("", with_indexer, true);
  if (attention_layers_ > with_indexer) {
    add_sparse_kernels("_shared_index", attention_layers_ - with_indexer, false);
  }
}

/// Sparse attention runs on the latents in prefill too (as multi-query attention). The indexer is
/// replicated: its queries are fp8, its keys an fp8 vector and an fp32 scale per token.
void GraphBuilder::add_sparse_kernels(const std::string& suffix, double layers, bool indexer) {
  const AttentionSpec& a = model_.attention;
  const double latent = a.kv_lora_rank + a.qk_rope_head_dim;
  const double qk = a.qk_nope_head_dim + a.qk_rope_head_dim;
  double weights = hidden() * (a.q_lora_rank + latent) + a.q_lora_rank * heads() * qk +
                   a.kv_lora_rank * heads() * (a.qk_nope_head_dim + a.v_head_dim) +
                   heads() * a.v_head_dim * hidden();
  Operator prefill = attention_operator("attention_prefill" + suffix, layers);
  prefill.kind = OperatorKind::sparse_prefill;
  prefill.precision = formats_.attention;
  prefill.window = a.index_topk;
  prefill.shape.hidden = hidden();
  prefill.flops = 2 * heads() * (latent + a.kv_lora_rank);
  prefill.bytes = model_.kv_bytes_per_layer(target_.kv_cache, 1);
  prefill.row_bytes =
      (2 * hidden() + 2 * a.q_lora_rank + 2 * heads() * qk + heads() * (latent + a.kv_lora_rank)) *
      kActivation;
  if (indexer) {
    weights += static_cast<double>(a.q_lora_rank) * a.index_heads * a.index_head_dim +
               hidden() * (a.index_head_dim + a.index_heads);
    prefill.index_flops = 2.0 * a.index_heads * a.index_head_dim;
    prefill.index_bytes = a.index_head_dim + 4;
  }
  prefill.fixed_bytes = weights * model_.bytes_per_weight(formats_.attention);
  prefill.row_flops = 2 * weights;
  // Down, norms, up, absorb, rope and write, indexer (3), choice, attention, expand, output.
  prefill.launches = indexer ? 12 : 8;
  Operator decode = prefill;
  decode.name = "attention_decode" + suffix;
  decode.kind = OperatorKind::sparse_decode;
  add_pair(std::move(prefill), std::move(decode));
}

void GraphBuilder::add_linear_attention() {
  const LinearAttentionSpec& linear = *model_.linear;
  const double values = shard(static_cast<double>(linear.values()), tp());
  const double keys = shard(static_cast<double>(linear.key_values()), tp());
  const double value_heads = shard(linear.value_heads, tp());
  add_gemm("linear_in_gemm", linear_layers_, hidden(), keys + 2 * values, formats_.attention);
  add_gemm("linear_decay_gemm", linear_layers_, hidden(), 2 * value_heads, Precision::bf16);
  add_linear_kernels();
  add_bytes("linear_gated_norm", linear_layers_, 3 * values * kActivation, 1);
  add_gemm("linear_out_gemm", linear_layers_, values, hidden(), formats_.attention);
}

/// Yang et al. 2024 (Gated Delta Networks), section 3.3. Prefill works in chunks of C = 64 tokens:
/// per token and head 2 (3 C dk + 2 C dv + 3 dk dv) flops, and the state of a chunk written and
/// read in bf16. Decode reads and writes the fp32 state: decay, error, update and output.
void GraphBuilder::add_linear_kernels() {
  const LinearAttentionSpec& linear = *model_.linear;
  constexpr double kChunk = 64;
  const double value_heads = shard(linear.value_heads, tp());
  const double dk = linear.key_head_dim;
  const double dv = linear.value_head_dim;
  const double channels = shard(static_cast<double>(linear.key_values() + linear.values()), tp());
  Operator prefill;
  prefill.name = "linear_prefill";
  prefill.kind = OperatorKind::linear_prefill;
  prefill.count = linear_layers_;
  prefill.kv_cache = target_.kv_cache;
  prefill.shape.heads = value_heads;
  prefill.shape.head_dim = linear.value_head_dim;
  prefill.shape.kv_group = std::max(1, linear.value_heads / std::max(1, linear.key_heads));
  prefill.row_flops = value_heads * 2 * (3 * kChunk * dk + 2 * kChunk * dv + 3 * dk * dv) +
                      2 * channels * linear.conv_kernel;
  prefill.row_bytes =
      (4 * channels + value_heads * dv) * kActivation + value_heads * dk * dv * 2 * 2 / kChunk;
  prefill.launches = 6;  // convolution, cumulative decay, two of the chunk's inverse, state, output
  Operator decode = prefill;
  decode.name = "linear_decode";
  decode.kind = OperatorKind::linear_decode;
  decode.row_flops = value_heads * 8 * dk * dv + 2 * channels * linear.conv_kernel;
  const double state = value_heads * dk * dv * 4 + channels * (linear.conv_kernel - 1) * 2;
  // The state crosses memory once a step however many tokens a sequence has.
  decode.row_bytes = (4 * channels + value_heads * dv) * kActivation + 2 * state / decode_rows_;
  decode.launches = 2;
  add_pair(std::move(prefill), std::move(decode));
}

}  // namespace dyn::perf
