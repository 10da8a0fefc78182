#pragma once

#include <algorithm>

#include "dyn/core/random.h"
#include "trace_builder.h"

namespace dyn::sim {

/// How long somebody waits: gamma with this mean and coefficient of variation (1: exponential), at
/// most kMaxTraceSeconds; the mean itself, and nothing is drawn, where either is 0.
inline Duration draw_wait(RandomStream& stream, Duration mean, double cv) {
  const double seconds = to_seconds(mean);
  if (seconds <= 0 || cv <= 0) {
    return mean;
  }
  return from_seconds(std::min(stream.gamma(1 / (cv * cv), seconds * cv * cv), kMaxTraceSeconds));
}

}  // namespace dyn::sim
