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
  double row_flops = 0;        ///< attention only: flops per query token
  double context_flops = 0;    ///< prefill attention only: per token of prior context
  int window = 0;              ///< attention only: tokens that a query attends to, 0 all
  double index_flops = 0;      ///< sparse only: per query-key pair, of all whatever the window
  double index_bytes = 0;      ///< sparse only: per KV token, of all whatever the window
  std::optional<ExpertSpread> experts;
  Precision kv_cache = Precision::bf16;  ///< attention only
  OperatorShape shape;
};

/// The operators of one step of a model under a layout, in order of execution. Under pipeline
/// parallelism the layers are rounded up to whole layers a stage; what a layout does not divide is
/// padded. Throws Error(infeasible) as check_layout does.
///
/// latent_* are MLA's kernels without projections. sparse_* are the whole attention of a layer,
/// from its normed input to the output of its last projection: `fixed_bytes` and `row_flops` are
/// the projections', `flops` and `bytes` of attention to at most `window` tokens, `index_*` the
/// indexer's. linear_* are convolution and gated delta rule; their work is per query token
/// (`row_*`) alone, and in decode the sequence's state counts as bytes of its token.
/// Multiplications in 8 bits or fewer include the quantisation of their input.
///
/// With speculation, operators that grow with sequences (sampled, decode) are those of all tokens
/// a sequence has computed; those that grow with tokens need a step's decoding sequences counted
/// `tokens_per_decode` times. Draft layers have names that begin with draft_.
std::vector<Operator> operator_graph(const PerfTarget& target, const GpuSpec& gpu);

/// The one layer that drafts tokens, as a model of its own. EAGLE's, where the model has no dense
/// layer, is taken with an MLP of four times the hidden size.
ModelSpec draft_layer(const ModelSpec& model, SpeculationKind kind);

/// Experts that `tokens` tokens use in all, if each chooses `per_token` of `experts` evenly:
/// E (1 - (1 - k/E)^tokens).
double expected_experts(double experts, double per_token, std::int64_t tokens);

/// Throws Error(infeasible), saying what does not divide, unless the layout fits the model. MLA's
/// heads, experts and intermediate sizes are padded rather than refused, as engines do.
void check_layout(const ModelSpec& model, const ParallelLayout& layout);

}  // namespace dyn::perf
