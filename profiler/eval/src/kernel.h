#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "descriptor.h"

namespace dyn::eval {

/// A descriptor whose names are numbers, for comparing many.
struct CodedPoint {
  std::array<std::int32_t, Descriptor::kNames> names{};
  std::array<double, Descriptor::kNumbers> numbers{};
};

/// How alike the residuals of two deployments are expected to be: the covariance
///   kin * (smooth * exp(-d / 2) + rough / (1 + d / 8)) + engine * [same engine] + common,
/// d the squared distance of the numbers, each with its weight, and kin the product of `kinship`
/// over the names that differ. `noise` is what measuring twice differs by. Variances of natural
/// logarithms.
struct Kernel {
  std::array<double, Descriptor::kNumbers> weights{};
  std::array<double, Descriptor::kNames> kinship{};  ///< [0, 1]
  double smooth = 0.1;
  double rough = 0.1;
  double engine = 0.1;
  double common = 0.1;
  double noise = 0.02;

  double covariance(const CodedPoint& a, const CodedPoint& b) const;
  double variance() const { return smooth + rough + engine + common; }
};

/// The kernel under which the residuals are most likely (type-II maximum likelihood with weak
/// priors: resilient back-propagation, whose step depends on the sign of the gradient alone).
/// Deterministic. O(iterations * n^3): meant for some hundred points.
Kernel likeliest_kernel(const std::vector<CodedPoint>& points, const std::vector<double>& residuals,
                        int iterations);

}  // namespace dyn::eval
