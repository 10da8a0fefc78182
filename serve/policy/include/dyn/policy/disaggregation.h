#pragma once

#include <cstdint>

#include "dyn/core/disaggregation.h"

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

}  // namespace dyn::policy
