#pragma once

#include "dyn/core/precision.h"
#include "dyn/core/profile.h"

namespace dyn::perf {

/// What one execution of an operator on one GPU computes and moves: the two sides of its roofline.
/// The operators of a model count the same way, so that a fit holds for what it will be asked.
struct Work {
  double flops = 0;
  double bytes = 0;
};

/// [tokens, k] x [k, n] with weights of `weights`.
Work gemm_work(double tokens, double n, double k, Precision weights);

/// Attention of one GPU's heads over equal sequences.
struct AttentionShape {
  double sequences = 1;
  double queries = 1;  ///< of each sequence; 1 when decoding
  double context = 0;  ///< prefill: tokens before the queries; decode: all KV tokens of a sequence
  double heads = 1;
  double kv_heads = 1;
  double head_dim = 128;
  double window = 0;  ///< tokens; 0 none
  Precision kv_cache = Precision::bf16;
};
Work prefill_work(const AttentionShape& shape);
Work decode_work(const AttentionShape& shape);

/// MLA with DeepSeek's sizes (kv_lora_rank 512, rope 64, nope 128, value 128); kv_heads and
/// head_dim of the shape do not matter.
Work latent_prefill_work(const AttentionShape& shape);
Work latent_decode_work(const AttentionShape& shape);

/// Gated experts on the busiest of `ranks` GPUs among which whole experts are spread.
struct ExpertShape {
  double tokens = 1;  ///< of all ranks
  double experts = 1;
  double per_token = 1;
  double ranks = 1;
  double hidden = 0;
  double width = 0;  ///< intermediate size of one expert on this GPU
  Precision weights = Precision::bf16;
};
Work moe_work(const ExpertShape& shape);

/// What meets at the busiest of `ranks` GPUs, if each token chooses its experts evenly.
struct ExpertLoad {
  double rows = 0;     ///< tokens x experts a token: the mean, plus the expected maximum of evenly
                       ///< random loads, sqrt(2 mean ln ranks)
  double experts = 0;  ///< of its own that are used
};
ExpertLoad busiest_load(double tokens, double per_token, double experts, double ranks);

/// Whether the operator runs on the links between GPUs.
bool is_collective(OperatorKind kind);

/// What each GPU's link carries for a message of `bytes` in a group.
double all_reduce_bytes(double bytes, int gpus);  ///< 2 (n - 1) / n of it
double gather_bytes(double bytes, int gpus);      ///< (n - 1) / n of it

}  // namespace dyn::perf
