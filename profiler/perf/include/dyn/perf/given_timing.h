#pragma once

#include <memory>

#include "dyn/core/plan.h"
#include "dyn/perf/step_timer.h"

namespace dyn::perf {

/// Step times that are given, not modelled: the sum of a prefill and a decode part (StepTiming).
/// Asserts that `timing` is not of kind `model`; `kv_tokens` (> 0) is how many tokens the KV cache
/// of one engine holds. Whole nanoseconds, at least one.
///
/// The polynomial is that of Dynamo 1.6's mocker: T counts the prompt tokens of the step that were
/// not cached; a sequence whose prompt the step completes yields its first token without counting
/// as decoding.
std::shared_ptr<const StepTimer> given_timing(const StepTiming& timing, std::int64_t kv_tokens);

/// The device that a pool of a plan runs on.
const Profile& profile_of(const Plan& plan, const PoolSpec& pool);
const Profile& profile_of(const Plan& plan, const EncodeSpec& pool);

/// The step times of a pool's engines, wherever they come from. Throws as PerfModel::compile does.
std::shared_ptr<const StepTimer> step_timer(const Plan& plan, const PoolSpec& pool);

}  // namespace dyn::perf
