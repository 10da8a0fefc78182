#pragma once

#include <string>
#include <vector>

#include "dyn/core/profile.h"

namespace dyn::profiler {

/// One timed launch of an operator.
struct Sample {
  double x = 0;        ///< > 0; what the correction table is over, see CorrectionPoint
  double flops = 0;    ///< >= 0
  double bytes = 0;    ///< >= 0, of memory read and written
  double seconds = 0;  ///< > 0
};

/// What a fit is made from.
struct FitInput {
  OperatorKind kind = OperatorKind::gemm;
  Precision precision = Precision::bf16;
  FlopsPerSec peak{0};       ///< of the device in this precision
  BytesPerSec bandwidth{0};  ///< of the device's memory
  std::vector<Sample> samples{};
  std::string source{};
};

/// The constants that bring an OperatorFit nearest to the samples: efficiencies in (0, 1] and an
/// overhead >= 0 with the least mean relative deviation (least squares over every way of
/// splitting the samples into compute-bound and memory-bound ones, re-weighted towards absolute
/// deviations), then a correction table of a few points where it helps. An efficiency that no
/// sample bears on is 1. `relative_error` is the 90 % quantile of the deviations, each sample
/// being predicted by a table made without it. Pure. Throws Error(bad_input) that names the
/// sample for a value that is negative, zero where it may not be, or not finite, and for fewer
/// than two samples.
OperatorFit fit_operator(const FitInput& input);

/// The time that a fit gives, by the formula of OperatorFit.
double predicted_seconds(const OperatorFit& fit, FlopsPerSec peak, BytesPerSec bandwidth,
                         const Sample& sample);

}  // namespace dyn::profiler
