#include "operators.h"

#include <algorithm>

#include "dyn/core/error.h"
#include "graph_builder.h"

namespace dyn::perf {

namespace {

std::string text(std::int64_t value) {
  return std::to_string(value);
}

[[noreturn]] void refuse(const ModelSpec& model, const std::string& why, const std::string& hint) {
  throw Error(ErrorKind::infeasible, model.name + ": " + why, hint);
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
  if (attention.kind == AttentionKind::grouped_query && attention.heads % layout.tensor != 0) {
    refuse(model,
           "tensor parallelism " + text(layout.tensor) + " does not divide its " +
               text(attention.heads) + " attention heads",
           "choose a divisor of the head count");
  }
  if (attention.heads < layout.tensor) {
    refuse(model,
           "tensor parallelism " + text(layout.tensor) + " exceeds its " + text(attention.heads) +
               " attention heads",
           "");
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
  if (!model.moe) {
    if (layout.expert > 1) {
      refuse(model, "it has no experts for expert parallelism " + text(layout.expert), "");
    }
    return;
  }
  const int gpus = layout.tensor * layout.data;
  if (gpus % layout.expert != 0 || layout.expert > model.moe->experts) {
    refuse(model,
           "expert parallelism " + text(layout.expert) + " must divide the " + text(gpus) +
               " GPUs of tensor x data and be at most its " + text(model.moe->experts) + " experts",
           "");
  }
}

ModelSpec draft_layer(const ModelSpec& model, SpeculationKind kind) {
  ModelSpec draft = model;
  draft.layers = 1;
  draft.linear.reset();
  draft.attention.sliding_window = 0;
  draft.attention.sliding_layers = 0;
  draft.attention.index_layers = std::min(1, model.attention.index_layers);
  if (kind == SpeculationKind::eagle) {
    draft.attention.index_topk = 0;
    draft.attention.index_layers = 0;
    draft.moe.reset();
    if (draft.intermediate == 0) {
      draft.intermediate = 4 * draft.hidden;
    }
  } else if (draft.moe) {
    draft.moe->dense_layers = 0;
  }
  return draft;
}

std::vector<Operator> operator_graph(const PerfTarget& target, const GpuSpec& gpu) {
  check_layout(target.model, target.layout);
  return GraphBuilder(target, gpu).build();
}

}  // namespace dyn::perf
