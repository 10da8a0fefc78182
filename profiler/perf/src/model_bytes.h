#pragma once

#include "dyn/perf/perf_model.h"

namespace dyn::perf {

/// Bytes of weights on the fullest GPU of the layout: matrices at the target's precision;
/// embeddings, norms and expert routers in bf16. Vocabulary, heads and MLPs are split by TP, key
/// and value heads replicated where there are fewer than GPUs, layers split over stages, experts
/// over EP.
double weight_bytes(const PerfTarget& target);

/// KV bytes that one token of context takes on one GPU. MLA's latent is not split by TP.
double kv_bytes_per_token(const PerfTarget& target);

}  // namespace dyn::perf
