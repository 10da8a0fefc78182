#pragma once

#include "dyn/perf/perf_model.h"

namespace dyn::perf {

/// Bytes of weights on the fullest GPU of the layout, each matrix at its weight_formats();
/// embeddings, norms, indexers and expert routers in bf16. Vocabulary, heads and MLPs are split by
/// TP, key and value heads replicated where there are fewer than GPUs, layers split over stages,
/// experts over all GPUs of tensor x data. Draft layers count where the target speculates.
double weight_bytes(const PerfTarget& target);

/// KV bytes that one token of context takes on one GPU, in layers that keep the whole context.
/// MLA's latent is not split by TP. Draft layers count where the target speculates.
double kv_bytes_per_token(const PerfTarget& target);

/// The same where pages have the KV of `layers` layers and at least that of those.
double page_bytes_per_token(const PerfTarget& target, int layers);

/// KV bytes that one token takes on one GPU in `layers` layers.
double layer_bytes_per_token(const PerfTarget& target, int layers);

/// Bytes of one sequence on one GPU that do not grow with its context: the windows of sliding
/// layers, the states of linear ones.
double kv_bytes_per_sequence(const PerfTarget& target);
/// Of these the states of linear layers.
double state_bytes_per_sequence(const PerfTarget& target);

}  // namespace dyn::perf
