#pragma once

#include "dyn/configurator/explore.h"
#include "dyn/sim/workload.h"

namespace dyn::configurator {

/// What the closed-form score needs to know of a load.
struct WorkloadStats {
  WorkloadSummary summary;
  double input_scv = 0;   ///< squared coefficient of variation of prompt lengths
  double input_p99 = 0;   ///< tokens
  double output_p99 = 0;  ///< tokens
  std::int64_t longest_prompt = 0;
  double duration = 0;     ///< seconds from first to last arrival; 0 in a closed loop
  double peak_factor = 1;  ///< busy-window arrival rate / mean rate, >= 1
  double peak_window = 0;  ///< seconds that such a window lasts
  double images_per_request = 0;
  ImageSize image;           ///< of the mean one
  double unique_tokens = 0;  ///< distinct prompt tokens: the working set of a cache
};

/// One pass over the requests.
WorkloadStats workload_stats(const sim::Workload& workload);

}  // namespace dyn::configurator
