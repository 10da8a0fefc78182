#pragma once

#include <cstdint>

#include "dyn/core/disaggregation.h"
#include "dyn/core/layout.h"
#include "dyn/core/model_spec.h"

namespace dyn::policy {

/// What is known of a prompt before it is placed.
struct PromptOutlook {
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;   ///< at the decode worker that has most of it
  std::int64_t prefill_queued = 0;  ///< prompts queued at the least busy prefill worker
};

/// Whether a decode worker computes the prompt itself: it is short, mostly cached there, or the
/// prefill workers are all busy. As conditional disaggregation in Dynamo's documentation.
bool prefill_locally(const DisaggregationSpec& spec, const PromptOutlook& prompt);

/// Bytes that reach the GPUs of a decode worker for each token of KV, if the model's KV of one
/// token is `bytes_per_token`: once for each rank that keeps a copy of it. With more
/// tensor-parallel ranks than KV heads, heads are replicated; a latent (MLA) is on every rank.
Bytes received_per_token(Bytes bytes_per_token, const ModelSpec& model, Precision kv_cache,
                         const ParallelLayout& decode);

}  // namespace dyn::policy
