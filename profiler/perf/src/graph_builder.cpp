#include "graph_builder.h"

#include <algorithm>
#include <utility>

namespace dyn::perf {

GraphBuilder::GraphBuilder(const PerfTarget& target, const GpuSpec& gpu)
    : target_(target),
      model_(target.model),
      gpu_(gpu),
      layout_(target.layout),
      formats_(weight_formats(target)),
      decode_rows_(target.tokens_per_decode()) {
  const int stages = layout_.pipeline;
  const int whole_layers = (model_.layers + stages - 1) / stages * stages;
  layers_ = whole_layers;
  linear_layers_ = model_.linear ? model_.linear->layers : 0;
  attention_layers_ = layers_ - linear_layers_;
  dense_layers_ = layers_;
  if (model_.moe) {
    // The padding layer of an uneven pipeline is one of the many expert layers.
    dense_layers_ = model_.moe->dense_layers;
    expert_layers_ = layers_ - dense_layers_;
  }
}

std::vector<Operator> GraphBuilder::build() {
  add_bytes("embedding", 1, 2 * hidden() * kActivation, 1);
  add_all_reduce("embedding_all_reduce", 1, layout_.tensor, hidden() * kActivation);
  add_layers();
  add_pipeline();
  add_head();
  if (target_.speculation) {
    add_draft();
  }
  return std::move(graph_);
}

std::vector<Operator> GraphBuilder::build_layers() {
  add_layers();
  return std::move(graph_);
}

void GraphBuilder::add_layers() {
  add_attention();
  if (dense_layers_ > 0) {
    add_mlp("mlp", dense_layers_, static_cast<double>(model_.intermediate));
  }
  if (expert_layers_ > 0) {
    add_experts();
  }
}

/// Weights of k x m at `weights`, multiplied with every token.
Operator& GraphBuilder::add_gemm(const std::string& name, double count, double k, double m,
                                 Precision weights) {
  Operator op;
  op.name = name;
  op.kind = OperatorKind::gemm;
  op.precision = weights;
  op.count = count;
  op.flops = 2 * k * m;
  op.fixed_bytes = k * m * model_.bytes_per_weight(weights);
  const double input = std::min(kActivation, bytes_per_value(compute_precision(weights)));
  op.bytes = k * input + m * kActivation;
  op.shape.n = m;
  op.shape.k = k;
  return add(std::move(op));
}

Operator& GraphBuilder::add_bytes(const std::string& name, double count, double bytes,
                                  double launches) {
  Operator op;
  op.name = name;
  op.kind = OperatorKind::elementwise;
  op.count = count;
  op.bytes = bytes;
  op.launches = launches;
  return add(std::move(op));
}

/// A collective over `group` GPUs of a message of `bytes` per token, of which each GPU's link
/// carries `factor`.
void GraphBuilder::add_collective(const std::string& name, OperatorKind kind, double count,
                                  int group, double bytes, double factor, Driver driver) {
  Operator op;
  op.name = name;
  op.kind = kind;
  op.count = count;
  op.group = group;
  op.between_nodes = group > gpu_.gpus_per_node;
  op.bytes = bytes * factor;
  op.shape.message = bytes;
  op.driver = driver;
  add(std::move(op));
}

/// A ring moves 2 (n - 1) / n of the message through each link.
void GraphBuilder::add_all_reduce(const std::string& name, double count, int group, double bytes) {
  if (group > 1) {
    const double n = group;
    add_collective(name, OperatorKind::all_reduce, count, group, bytes, 2 * (n - 1) / n);
  }
}

void GraphBuilder::add_mlp(const std::string& name, double count, double intermediate) {
  const double width = shard(intermediate, tp());
  const double up = model_.gated_mlp ? 2 : 1;
  add_gemm(name + "_up_gemm", count, hidden(), up * width, formats_.dense);
  add_bytes(name + "_activation", count, (up + 1) * width * kActivation, 1);
  add_gemm(name + "_down_gemm", count, width, hidden(), formats_.dense);
  add_all_reduce(name + "_all_reduce", count, layout_.tensor, hidden() * kActivation);
}

void GraphBuilder::add_experts() {
  const MoeSpec& moe = *model_.moe;
  const double expert_tensor =
      static_cast<double>(layout_.tensor * layout_.data) / layout_.expert;  // GPUs of each expert
  const double width = shard(static_cast<double>(moe.expert_intermediate), expert_tensor);
  const double matrices = model_.gated_mlp ? 3 : 2;
  add_gemm("expert_router", expert_layers_, hidden(), moe.experts, Precision::bf16);
  add_bytes("expert_choice", expert_layers_, moe.experts * 4 + moe.experts_per_token * 8, 1);
  if (moe.shared_experts > 0) {
    const double shared = shard(static_cast<double>(moe.shared_intermediate), tp());
    add_gemm("shared_expert_up_gemm", expert_layers_, hidden(), (matrices - 1) * shared,
             formats_.dense);
    add_bytes("shared_expert_activation", expert_layers_, matrices * shared * kActivation, 1);
    add_gemm("shared_expert_down_gemm", expert_layers_, shared, hidden(), formats_.dense);
  }
  if (layout_.data > 1) {
    add_expert_exchange(false);
  }
  Operator op;
  op.name = "experts";
  op.kind = sends_tokens() ? OperatorKind::moe_dispatched : OperatorKind::moe;
  op.precision = formats_.experts;
  op.count = expert_layers_;
  // Of one GPU: `flops` per token routed here, `fixed_bytes` per expert that is used here.
  op.flops = 2 * matrices * hidden() * width;
  op.fixed_bytes = matrices * hidden() * width * model_.bytes_per_weight(formats_.experts);
  op.bytes = (2 * hidden() + matrices * width) * kActivation;
  op.shape.hidden = hidden();
  op.shape.width = width;
  op.launches = 3;  // sort and align, two grouped multiplies
  op.experts =
      ExpertSpread{static_cast<double>(moe.experts), static_cast<double>(moe.experts_per_token),
                   layout_.expert, static_cast<double>(layout_.data)};
  add(std::move(op));
  if (layout_.data > 1) {
    add_expert_exchange(true);
  } else {
    add_all_reduce("expert_all_reduce", expert_layers_, layout_.tensor, hidden() * kActivation);
  }
}

/// Whether the group that tokens are exchanged in is one that gathers all ranks' tokens and
/// scatters the sums. Within a node that is what engines do by default, and what published
/// deployments of SGLang with attention DP run, whose --moe-a2a-backend is none
/// (ishandhanani/srt-slurm, recipes/b200-fp8; ai-dynamo/dynamo, recipes/deepseek-r1/sglang).
bool GraphBuilder::gathers_tokens() const {
  const int group = layout_.tensor * layout_.data;
  return group <= 8 && group <= gpu_.gpus_per_node;
}

/// Whether the experts' kernels are those of tokens that an all-to-all brings to the GPUs of their
/// experts alone (DeepEP). TensorRT-LLM's are measured as its own, whatever the exchange.
bool GraphBuilder::sends_tokens() const {
  return layout_.data > 1 && layout_.expert == layout_.tensor * layout_.data &&
         target_.engine != "trtllm" && !gathers_tokens();
}

/// The way of tokens to the GPUs of their experts, or back: gathered and scattered (TensorRT-LLM's
/// tokens already quantised), or each sent to its experts alone.
void GraphBuilder::add_expert_exchange(bool combine) {
  const char* name = combine ? "expert_combine" : "expert_dispatch";
  const int group = layout_.tensor * layout_.data;
  const double n = group;
  if (gathers_tokens()) {
    const double value =
        !combine && target_.engine == "trtllm"
            ? std::min(kActivation, bytes_per_value(compute_precision(formats_.experts)))
            : kActivation;
    add_collective(name, combine ? OperatorKind::reduce_scatter : OperatorKind::all_gather,
                   expert_layers_, group, layout_.data * hidden() * value, (n - 1) / n);
    return;
  }
  // A token crosses each link at most once a destination; dispatch and combine are bf16.
  const double copies =
      std::min<double>(model_.moe->experts_per_token, std::max(layout_.expert, 1));
  const double sent = layout_.expert > 1 ? copies * (n - 1) / n : n - 1;
  add_collective(name, OperatorKind::all_to_all, expert_layers_, group,
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
  // A sequence with drafts has a row for each of its tokens.
  const double rows = decode_rows_;
  const double vocabulary = static_cast<double>(model_.vocabulary);
  Operator& head = add_gemm("lm_head", 1, hidden(), shard(vocabulary, tp()), Precision::bf16);
  head.driver = Driver::sampled;
  head.flops *= rows;
  head.bytes *= rows;
  if (layout_.tensor > 1) {
    const double n = tp();
    add_collective("logits_gather", OperatorKind::all_gather, 1, layout_.tensor,
                   rows * vocabulary * kActivation, (n - 1) / n, Driver::sampled);
  }
  Operator sampling;
  sampling.name = "sampling";
  sampling.kind = OperatorKind::sampling;
  sampling.driver = Driver::sampled;
  sampling.bytes = rows * vocabulary * 8;  // fp32 logits, read and written once
  add(std::move(sampling));
}

/// The draft layer's first pass computes every token of the step, so that its KV is complete;
/// each of the others one token of every sequence. Each pass ends in the model's own head.
void GraphBuilder::add_draft() {
  const int passes = target_.speculation->draft_tokens;
  PerfTarget draft = target_;
  draft.model = draft_layer(model_, target_.speculation->kind);
  draft.speculation.reset();
  draft.layout.pipeline = 1;
  const bool eagle = target_.speculation->kind == SpeculationKind::eagle;
  if (eagle) {
    draft.weights = Precision::bf16;
    draft.attention_weights.reset();
    draft.layout.expert = 1;
    draft.layout.data = 1;
  }
  std::vector<Operator> layer = GraphBuilder(draft, gpu_).build_layers();
  // The token's embedding and the model's hidden states (EAGLE-3: of three layers) meet here.
  GraphBuilder entry(draft, gpu_);
  entry.add_gemm("entry_gemm", 1, (eagle ? 4 : 2) * hidden(), hidden(), Precision::bf16);
  layer.insert(layer.begin(), entry.graph_.begin(), entry.graph_.end());
  for (Operator& op : layer) {
    op.name = "draft_" + op.name;
    if (op.driver == Driver::decode) {
      op.count *= passes;
    }
    add(op);
    if (op.driver == Driver::tokens && passes > 1) {
      op.driver = Driver::sampled;
      op.count *= passes - 1;
      op.name += "_again";
      add(op);
    }
  }
  const double vocabulary = static_cast<double>(model_.vocabulary);
  add_gemm("draft_head", passes, hidden(), shard(vocabulary, tp()), Precision::bf16).driver =
      Driver::sampled;
}

}  // namespace dyn::perf
