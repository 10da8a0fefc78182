#pragma once

#include <array>
#include <string>
#include <vector>

#include "dyn/core/profile.h"

namespace dyn::profiler {

constexpr std::size_t kMaxAxes = 5;

/// One measurement of an operator at one point of its quantities.
struct SurfaceSample {
  std::array<double, kMaxAxes> at{};  ///< > 0, in the order of the quantities
  double flops = 0;
  double bytes = 0;
  double seconds = 0;  ///< > 0
};

/// The knots of every axis, in the order of the quantities.
using Grid = std::vector<std::vector<double>>;

struct SurfaceInput {
  std::vector<std::string> quantities;
  std::vector<Grid> grids;  ///< candidates, from coarse to fine; what samples do not reach is cut
  FlopsPerSec peak{0};      ///< of the device at the operator's precision
  BytesPerSec bandwidth{0};
  std::vector<SurfaceSample> samples;
};

/// `key` with its efficiencies, overhead, surface, held-out error, sample count and interval.
/// First three constants with the least mean |log| deviation, then the coarsest grid that is
/// nearly as good as the best candidate on the held-out tenth of the samples (chosen by a hash
/// of their quantities); then the same grid on all samples. The surface is
/// a least-squares fit of log2(measured / modelled), re-weighted towards absolute deviations,
/// with a small penalty on its second differences that fills cells without samples. Pure.
OperatorFit fit_surface(OperatorFit key, const SurfaceInput& input);

/// log2 of the correction at a point; see CorrectionSurface.
double surface_at(const CorrectionSurface& surface, const std::array<double, kMaxAxes>& at);

}  // namespace dyn::profiler
