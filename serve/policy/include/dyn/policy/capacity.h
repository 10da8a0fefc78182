#pragma once

#include <cstdint>

#include "dyn/core/layout.h"
#include "dyn/core/quantity.h"
#include "dyn/perf/cache_groups.h"
#include "dyn/perf/step_timer.h"

namespace dyn::policy {

/// A worker and the requests it is to serve.
struct CapacityQuestion {
  const perf::StepTimer* timer = nullptr;
  WorkerRole role = WorkerRole::aggregated;
  double computed_tokens = 0;  ///< mean prompt tokens not found in a cache
  double prompt_tokens = 0;    ///< mean, in all
  double output_tokens = 1;    ///< mean
  std::int64_t step_tokens = 8192;
  std::int64_t kv_tokens = 0;  ///< that the cache holds
  int block_size = 1;
  perf::CacheGroups groups{};
  int max_num_seqs = 256;
  Duration itl{0};  ///< inter-token latency to keep
};

/// The most requests a second that one worker serves within the inter-token latency.
///   prefill:    1 / p, with p the time of one prompt's steps
///   decode:     n / (o s(n)) for the most sequences n whose step s(n) keeps the latency
///   aggregated: n / (o s(n) + n p), the prompts between the steps stretching them to
///               s(n) + n p / o, which is what keeps the latency
/// with o output tokens and contexts half way through their output; n is bounded by the cache and
/// by max_num_seqs, and at least 1, whatever the latency. Steady state, no queueing.
double request_capacity(const CapacityQuestion& question);

}  // namespace dyn::policy
