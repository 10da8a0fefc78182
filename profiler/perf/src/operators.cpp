#include "operators.h"

#include <algorithm>

#include "dyn/core/error.h"

namespace dyn::perf {

namespace {

constexpr double kActivation = 2.0;  // bytes of a bf16 activation

std::string text(std::int64_t value) {
  return std::to_string(value);
}

[[noreturn]] void refuse(const ModelSpec& model, const std::string& why, const std::string& hint) {
  throw Error(ErrorKind::infeasible, model.name + ": " + why, hint);
}

/// Builds the list; one method for each part of a layer.
class GraphBuilder {
 public:
  GraphBuilder(const PerfTarget& target, const GpuSpec& gpu)
      : target_(target), model_(target.model), gpu_(gpu), layout_(target.layout) {
    const int stages = layout_.pipeline;
    const int whole = (model_.layers + stages - 1) / stages * stages;
    layers_ = whole;
    if (model_.moe) {
      // The padding layer of an uneven pipeline is one of the many expert layers.
      dense_layers_ = model_.moe->dense_layers;
      expert_layers_ = whole - model_.moe->dense_layers;
    } else {
      dense_layers_ = whole;
    }
  }

  std::vector<Operator> build() {
    add_bytes("embedding", 1, 2 * hidden() * kActivation, 1);
    add_attention();
    if (dense_layers_ > 0) {
      add_mlp("mlp", dense_layers_, static_cast<double>(model_.intermediate));
    }
    if (expert_layers_ > 0) {
      add_experts();
    }
    add_pipeline();
    add_head();
    return std::move(graph_);
  }

 private:
  double hidden() const { return static_cast<double>(model_.hidden); }
  double tp() const { return layout_.tensor; }

  Operator& add(Operator op) { return graph_.emplace_back(std::move(op)); }

  /// Weights of k x m at the target's precision, multiplied with every token.
  Operator& add_gemm(const std::string& name, double count, double k, double m, Precision weights) {
    Operator op;
    op.name = name;
    op.kind = OperatorKind::gemm;
    op.precision = weights;
    op.count = count;
    op.flops = 2 * k * m;
    op.fixed_bytes = k * m * bytes_per_value(weights);
    const double input = std::min(kActivation, bytes_per_value(compute_precision(weights)));
    op.bytes = k * input + m * kActivation;
    op.shape.n = m;
    op.shape.k = k;
    return add(op);
  }
  Operator& add_gemm(const std::string& name, double count, double k, double m) {
    return add_gemm(name, count, k, m, target_.weights);
  }

  Operator& add_bytes(const std::string& name, double count, double bytes, double launches) {
    Operator op;
    op.name = name;
    op.kind = OperatorKind::elementwise;
    op.count = count;
    op.bytes = bytes;
    op.launches = launches;
    return add(op);
  }

  /// A collective over `group` GPUs of a message of `bytes` per token, of which each GPU's link
  /// carries `factor`.
  void add_collective(const std::string& name, OperatorKind kind, double count, int group,
                      double bytes, double factor = 1, Driver driver = Driver::tokens) {
    Operator op;
    op.name = name;
    op.kind = kind;
    op.count = count;
    op.group = group;
    op.between_nodes = group > gpu_.gpus_per_node;
    op.bytes = bytes * factor;
    op.shape.message = bytes;
    op.driver = driver;
    add(op);
  }

  /// A ring moves 2 (n - 1) / n of the message through each link.
  void add_all_reduce(const std::string& name, double count, int group, double bytes) {
    if (group > 1) {
      const double n = group;
      add_collective(name, OperatorKind::all_reduce, count, group, bytes, 2 * (n - 1) / n);
    }
  }

  void add_attention();
  void add_grouped_projections();
  void add_latent_projections();
  void add_attention_kernels();
  void add_attention_kernel(const std::string& suffix, double layers, int window);
  void add_mlp(const std::string& name, double count, double intermediate);
  void add_experts();
  void add_expert_exchange();
  void add_pipeline();
  void add_head();

  const PerfTarget& target_;
  const ModelSpec& model_;
  const GpuSpec& gpu_;
  const ParallelLayout& layout_;
  double layers_ = 0;
  double dense_layers_ = 0;
  double expert_layers_ = 0;
  std::vector<Operator> graph_;
};

void GraphBuilder::add_attention() {
  // Two fused residual-add and norm kernels a layer, each reading and writing both streams.
  add_bytes("norms", layers_, 2 * 4 * hidden() * kActivation, 2);
  if (model_.attention.kind == AttentionKind::latent) {
    add_latent_projections();
  } else {
    add_grouped_projections();
  }
  add_all_reduce("attention_all_reduce", layers_, layout_.tensor, hidden() * kActivation);
}

void GraphBuilder::add_grouped_projections() {
  const AttentionSpec& attention = model_.attention;
  const double heads = attention.heads / tp();
  const double kv_heads = std::max(1.0, attention.kv_heads / tp());
  const double q = heads * attention.head_dim;
  const double kv = kv_heads * attention.head_dim;
  add_gemm("qkv_gemm", layers_, hidden(), q + 2 * kv);
  const double rotated = 2 * (q + kv) * kActivation;
  const double written = 2 * kv * (kActivation + bytes_per_value(target_.kv_cache));
  add_bytes("rope_and_kv_write", layers_, rotated * (attention.qk_norm ? 2 : 1) + written,
            attention.qk_norm ? 3 : 2);
  add_attention_kernels();
  add_gemm("o_gemm", layers_, q, hidden());
}

void GraphBuilder::add_latent_projections() {
  const AttentionSpec& attention = model_.attention;
  const double heads = attention.heads / tp();
  const double qk = attention.qk_nope_head_dim + attention.qk_rope_head_dim;
  const double latent = attention.kv_lora_rank + attention.qk_rope_head_dim;
  // Down-projections are replicated, up-projections sharded by head.
  if (attention.q_lora_rank > 0) {
    add_gemm("qkv_down_gemm", layers_, hidden(), attention.q_lora_rank + latent);
    add_gemm("q_up_gemm", layers_, attention.q_lora_rank, heads * qk);
  } else {
    add_gemm("q_gemm", layers_, hidden(), heads * qk);
    add_gemm("kv_down_gemm", layers_, hidden(), latent);
  }
  // Absorbed into queries and outputs when decoding, applied to keys and values in prefill: the
  // same work per token either way.
  add_gemm("kv_up_gemm", layers_, attention.kv_lora_rank,
           heads * (attention.qk_nope_head_dim + attention.v_head_dim));
  add_bytes("rope_and_kv_write", layers_,
            (2 * heads * attention.qk_rope_head_dim + 4 * latent) * kActivation, 3);
  add_attention_kernels();
  add_gemm("o_gemm", layers_, heads * attention.v_head_dim, hidden());
}

void GraphBuilder::add_attention_kernels() {
  const AttentionSpec& attention = model_.attention;
  double sliding = 0;
  if (attention.sliding_window > 0) {
    sliding = std::min(layers_, static_cast<double>(attention.sliding_layers));
  }
  if (layers_ - sliding > 0) {
    add_attention_kernel("", layers_ - sliding, 0);
  }
  if (sliding > 0) {
    add_attention_kernel("_sliding", sliding, attention.sliding_window);
  }
}

void GraphBuilder::add_attention_kernel(const std::string& suffix, double layers, int window) {
  const AttentionSpec& attention = model_.attention;
  const double heads = attention.heads / tp();
  const double kv_value = bytes_per_value(target_.kv_cache);
  Operator prefill;
  prefill.name = "attention_prefill" + suffix;
  prefill.kind = OperatorKind::attention_prefill;
  prefill.driver = Driver::prefill;
  prefill.count = layers;
  prefill.window = window;
  prefill.kv_cache = target_.kv_cache;
  prefill.shape.heads = heads;
  prefill.shape.head_dim = attention.head_dim;
  prefill.shape.kv_group = std::max(1, attention.heads / std::max(1, attention.kv_heads));
  Operator decode = prefill;
  decode.name = "attention_decode" + suffix;
  decode.kind = OperatorKind::attention_decode;
  decode.driver = Driver::decode;
  if (attention.kind == AttentionKind::latent) {
    const double latent = attention.kv_lora_rank + attention.qk_rope_head_dim;
    const double qk = attention.qk_nope_head_dim + attention.qk_rope_head_dim;
    prefill.flops = 2 * heads * (qk + attention.v_head_dim);
    prefill.bytes = latent * kv_value;
    // Keys and values of earlier chunks are expanded from their latents again.
    prefill.context_flops =
        2 * attention.kv_lora_rank * heads * (attention.qk_nope_head_dim + attention.v_head_dim);
    prefill.row_bytes = heads * (qk + attention.v_head_dim) * kActivation;
    decode.flops = 2 * heads * (latent + attention.kv_lora_rank);
    decode.bytes = latent * kv_value;
    decode.row_bytes = heads * (latent + attention.kv_lora_rank) * kActivation;
  } else {
    const double kv_heads = std::max(1.0, attention.kv_heads / tp());
    prefill.flops = 4 * heads * attention.head_dim;
    prefill.bytes = 2 * kv_heads * attention.head_dim * kv_value;
    prefill.row_bytes = 2 * heads * attention.head_dim * kActivation;
    decode.flops = prefill.flops;
    decode.bytes = prefill.bytes;
    decode.row_bytes = prefill.row_bytes;
  }
  add(prefill);
  add(decode);
}

void GraphBuilder::add_mlp(const std::string& name, double count, double intermediate) {
  const double width = intermediate / tp();
  const double up = model_.gated_mlp ? 2 : 1;
  add_gemm(name + "_up_gemm", count, hidden(), up * width);
  add_bytes(name + "_activation", count, (up + 1) * width * kActivation, 1);
  add_gemm(name + "_down_gemm", count, width, hidden());
  add_all_reduce(name + "_all_reduce", count, layout_.tensor, hidden() * kActivation);
}

void GraphBuilder::add_experts() {
  const MoeSpec& moe = *model_.moe;
  const double gpus = layout_.tensor * layout_.data;
  const double expert_tensor = gpus / layout_.expert;  // GPUs that share each expert
  const double width = static_cast<double>(moe.expert_intermediate) / expert_tensor;
  const double matrices = model_.gated_mlp ? 3 : 2;
  add_gemm("expert_router", expert_layers_, hidden(), moe.experts, Precision::bf16);
  if (moe.shared_experts > 0) {
    const double shared = static_cast<double>(moe.shared_intermediate) / tp();
    add_gemm("shared_expert_up_gemm", expert_layers_, hidden(), (matrices - 1) * shared);
    add_gemm("shared_expert_down_gemm", expert_layers_, shared, hidden());
  }
  if (layout_.data > 1) {
    add_expert_exchange();
  }
  Operator op;
  op.name = "experts";
  op.kind = OperatorKind::moe;
  op.precision = target_.weights;
  op.count = expert_layers_;
  // Of one GPU: `flops` per token routed here, `fixed_bytes` per expert that is used here.
  op.flops = 2 * matrices * hidden() * width;
  op.fixed_bytes = matrices * hidden() * width * bytes_per_value(target_.weights);
  op.bytes = (2 * hidden() + matrices * width) * kActivation;
  op.shape.hidden = hidden();
  op.shape.width = width;
  op.launches = 3;  // sort and align, two grouped multiplies
  op.experts =
      ExpertSpread{static_cast<double>(moe.experts), static_cast<double>(moe.experts_per_token),
                   layout_.expert, static_cast<double>(layout_.data)};
  add(op);
  if (layout_.data == 1) {
    add_all_reduce("expert_all_reduce", expert_layers_, layout_.tensor, hidden() * kActivation);
  }
}

void GraphBuilder::add_expert_exchange() {
  // Attention-DP ranks send each token to the GPUs of its experts and get the sums back. A token
  // crosses each link at most once a destination; dispatch and combine are bf16.
  const int group = layout_.tensor * layout_.data;
  const double copies =
      std::min<double>(model_.moe->experts_per_token, std::max(layout_.expert, 1));
  const double share = static_cast<double>(group - 1) / group;
  const double sent = layout_.expert > 1 ? copies * share : static_cast<double>(group - 1);
  add_collective("expert_dispatch", OperatorKind::all_to_all, expert_layers_, group,
                 sent * hidden() * kActivation / tp());
  add_collective("expert_combine", OperatorKind::all_to_all, expert_layers_, group,
                 sent * hidden() * kActivation / tp());
}

void GraphBuilder::add_pipeline() {
  if (layout_.pipeline > 1) {
    add_collective("pipeline_send", OperatorKind::send_recv, layout_.pipeline - 1, 2,
                   hidden() * kActivation / tp());
    graph_.back().between_nodes = layout_.tensor * layout_.pipeline > gpu_.gpus_per_node;
  }
}

void GraphBuilder::add_head() {
  add_bytes("final_norm", 1, 4 * hidden() * kActivation, 1);
  const double vocabulary = static_cast<double>(model_.vocabulary);
  Operator& head = add_gemm("lm_head", 1, hidden(), vocabulary / tp(), Precision::bf16);
  head.driver = Driver::sampled;
  if (layout_.tensor > 1) {
    const double n = tp();
    add_collective("logits_gather", OperatorKind::all_reduce, 1, layout_.tensor,
                   vocabulary * kActivation, (n - 1) / n, Driver::sampled);
  }
  Operator sampling;
  sampling.name = "sampling";
  sampling.kind = OperatorKind::sampling;
  sampling.driver = Driver::sampled;
  sampling.bytes = vocabulary * 8;  // fp32 logits, read and written once
  add(sampling);
}

}  // namespace

double expected_experts(double experts, double per_token, std::int64_t tokens) {
  // Power by squaring: the same bits everywhere.
  double unused = 1;
  double base = 1 - per_token / experts;
  for (std::int64_t n = tokens; n > 0; n >>= 1) {
    if ((n & 1) != 0) {
      unused *= base;
    }
    base *= base;
  }
  return experts * (1 - unused);
}

void check_layout(const ModelSpec& model, const ParallelLayout& layout) {
  if (layout.tensor < 1 || layout.pipeline < 1 || layout.data < 1 || layout.expert < 1) {
    refuse(model, "every part of a layout must be at least 1", "");
  }
  const AttentionSpec& attention = model.attention;
  if (attention.heads % layout.tensor != 0) {
    refuse(model,
           "tensor parallelism " + text(layout.tensor) + " does not divide its " +
               text(attention.heads) + " attention heads",
           "choose a divisor of the head count");
  }
  if (attention.kind == AttentionKind::grouped_query &&
      std::max(attention.kv_heads, layout.tensor) % std::min(attention.kv_heads, layout.tensor) !=
          0) {
    refuse(model,
           "tensor parallelism " + text(layout.tensor) + " and its " + text(attention.kv_heads) +
               " key/value heads do not divide each other",
           "choose a power of two");
  }
  if (layout.pipeline > model.layers) {
    refuse(model,
           "pipeline parallelism " + text(layout.pipeline) + " exceeds its " + text(model.layers) +
               " layers",
           "");
  }
  if (model.intermediate % layout.tensor != 0) {
    refuse(model,
           "tensor parallelism " + text(layout.tensor) + " does not divide its intermediate size " +
               text(model.intermediate),
           "");
  }
  const int gpus = layout.tensor * layout.data;
  if (!model.moe) {
    if (layout.expert > 1) {
      refuse(model, "it has no experts for expert parallelism " + text(layout.expert), "");
    }
    return;
  }
  if (gpus % layout.expert != 0 || model.moe->experts % layout.expert != 0) {
    refuse(model,
           "expert parallelism " + text(layout.expert) + " must divide its " +
               text(model.moe->experts) + " experts and the " + text(gpus) +
               " GPUs of tensor x data",
           "");
  }
  if (model.moe->expert_intermediate % (gpus / layout.expert) != 0) {
    refuse(model,
           text(gpus / layout.expert) + " GPUs share each expert, which does not divide its " +
               "intermediate size " + text(model.moe->expert_intermediate),
           "raise expert parallelism");
  }
}

std::vector<Operator> operator_graph(const PerfTarget& target, const GpuSpec& gpu) {
  check_layout(target.model, target.layout);
  return GraphBuilder(target, gpu).build();
}

}  // namespace dyn::perf
