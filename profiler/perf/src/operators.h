#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dyn/core/profile.h"
#include "dyn/perf/perf_model.h"

namespace dyn::perf {

/// Which count of the step an operator's work grows with.
enum class Driver {
  tokens,   ///< all tokens of the step
  sampled,  ///< sequences that yield a token
  prefill,  ///< prefill attention: query-key pairs
  decode,   ///< decode attention: KV tokens
};

/// How a batch's tokens spread over experts.
struct ExpertSpread {
  double experts = 0;
  double per_token = 0;
  int ranks = 1;             ///< GPUs over which whole experts are spread
  double tokens_factor = 1;  ///< attention-DP ranks whose tokens meet at the experts
};

/// The shape of one GPU's shard of an operator, in the quantities of CorrectionSurface that do not
/// change from step to step. What does not apply is 0.
struct OperatorShape {
  double n = 0;  ///< gemm: [tokens, k] x [k, n]
  double k = 0;
  double heads = 0;    ///< attention
  int kv_group = 0;    ///< attention: heads that share a KV head
  int head_dim = 0;    ///< attention
  double hidden = 0;   ///< moe
  double width = 0;    ///< moe: intermediate size of one expert on this GPU
  double message = 0;  ///< collectives: bytes per unit of the driver, before any algorithm's factor
};

/// One operator on one GPU: `count` times a step, each with work that is linear in the driver.
struct Operator {
  std::string name;
  OperatorKind kind = OperatorKind::gemm;
  Precision precision = Precision::bf16;  ///< the fit and the peak that apply
  Driver driver = Driver::tokens;
  double count = 1;
  int group = 1;               ///< GPUs of a collective
  bool between_nodes = false;  ///< a collective that leaves the node
  double flops = 0;            ///< per unit of the driver
  double fixed_bytes = 0;      ///< such as weights
  double bytes = 0;            ///< per unit of the driver
  double launches = 1;         ///< kernels in one execution
  double row_bytes = 0;        ///< attention only: bytes per query token
  double context_flops = 0;    ///< prefill attention only: per token of prior context
  int window = 0;              ///< attention only: sliding window in tokens, 0 none
  std::optional<ExpertSpread> experts;
  Precision kv_cache = Precision::bf16;  ///< attention only
  OperatorShape shape;
};

/// The operators of one step of a model under a layout, in order of execution. Under pipeline
/// parallelism the layers are rounded up to whole layers a stage. Throws Error(infeasible) where
/// the layout does not divide the model.
std::vector<Operator> operator_graph(const PerfTarget& target, const GpuSpec& gpu);

/// Experts that `tokens` tokens use in all, if each chooses `per_token` of `experts` evenly:
/// E (1 - (1 - k/E)^tokens).
double expected_experts(double experts, double per_token, std::int64_t tokens);

/// Throws Error(infeasible), saying what does not divide, unless the layout fits the model.
void check_layout(const ModelSpec& model, const ParallelLayout& layout);

}  // namespace dyn::perf
