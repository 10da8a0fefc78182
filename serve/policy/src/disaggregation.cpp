#include "dyn/policy/disaggregation.h"

#include <algorithm>

namespace dyn::policy {

bool prefill_locally(const DisaggregationSpec& spec, const PromptOutlook& prompt) {
  const std::int64_t uncached =
      std::max<std::int64_t>(prompt.prompt_tokens - prompt.cached_tokens, 1);
  if (uncached <= spec.local_prefill.count()) {
    return true;
  }
  if (spec.local_cached_share &&
      static_cast<double>(prompt.cached_tokens) >=
          *spec.local_cached_share * static_cast<double>(prompt.prompt_tokens)) {
    return true;
  }
  return spec.local_above_queued && prompt.prefill_queued >= *spec.local_above_queued;
}

}  // namespace dyn::policy
