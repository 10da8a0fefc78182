#pragma once

#include <array>
#include <string>
#include <vector>

#include "dyn/core/profile.h"

namespace dyn::profiler {

constexpr std::size_t kMaxQuantities = 8;

/// One measurement of an operator at one point of its quantities.
struct SurfaceSample {
  std::array<double, kMaxQuantities> at{};  ///< > 0, in the order of the quantities
  double flops = 0;
  double bytes = 0;
  double seconds = 0;  ///< > 0
};

/// One axis of a surface, by the index of its quantity. What samples do not reach is cut from the
/// knots, down to the least and the most of them; none at all stands for the values that were
/// measured, at most 80 of them.
struct DesignAxis {
  std::size_t quantity = 0;
  std::vector<double> knots;
};

/// The surfaces of a fit, as they are asked for.
using SurfaceDesign = std::vector<std::vector<DesignAxis>>;

struct SurfaceInput {
  std::vector<std::string> quantities;
  std::vector<SurfaceDesign> designs;  ///< candidates, from coarse to fine
  FlopsPerSec peak{0};                 ///< of the device at the operator's precision
  BytesPerSec bandwidth{0};
  std::vector<SurfaceSample> samples;
  bool bare = false;  ///< the modelled time is bytes / bandwidth: no constants are fitted
};

/// How well one of the designs does, on training samples that it was not fitted on.
struct DesignScore {
  std::size_t design = 0;
  std::size_t values = 0;
  double median = 0;  ///< of |modelled / measured - 1|
};

/// Whether a sample is of the fifth that is held out: no constant, surface or choice of one ever
/// sees it. Told by a hash of its quantities, so that it is the same everywhere.
bool held_out(const SurfaceSample& sample);

/// The designs that are worth their values: each better than all before it on a fifth of the
/// training samples, being fitted on the rest. Never empty. Pure.
std::vector<DesignScore> score_designs(const SurfaceInput& input);

/// `key` with its efficiencies, overhead, surfaces, held-out error, sample count and interval,
/// from the training samples alone. Three constants with the least mean |log| deviation; then the
/// surfaces, all at once, by least squares of log2(measured / modelled), re-weighted towards
/// absolute deviations, with small penalties on their differences that fill cells without
/// samples. Error and interval are those of the samples held out. Pure.
OperatorFit fit_surfaces(OperatorFit key, const SurfaceInput& input, std::size_t design);

/// Modelled time of one sample.
double modelled_seconds(const OperatorFit& fit, const SurfaceInput& input,
                        const SurfaceSample& sample);

}  // namespace dyn::profiler
