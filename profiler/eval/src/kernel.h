#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "descriptor.h"

namespace dyn::eval {

/// A descriptor whose names are numbers, for comparing many, with the parts of one figure.
struct CodedPoint {
  std::array<std::int32_t, Descriptor::kNames> names{};
  std::array<double, Descriptor::kNumbers> numbers{};
  std::array<double, Descriptor::kParts> parts{};
};

/// How a term of a covariance depends on what its points have beside their names.
enum class TermShape {
  parts,   ///< product of the parts: a constant factor for each part of the time
  smooth,  ///< exp(-d / 2), d the weighted squared distance of the numbers
  rough,   ///< 1 / (1 + d / 8)
};

/// What deployments that share some names have in common. The names are a set of bits.
struct KernelTerm {
  unsigned names = 0;
  TermShape shape = TermShape::smooth;
  const char* text = "";
};

constexpr std::size_t kKernelTerms = 12;
/// From what an engine's runs share to what one model's on one system do: a deployment of a model
/// that was never measured still has the former.
extern const std::array<KernelTerm, kKernelTerms> kTerms;

/// How alike the residuals of two deployments are expected to be: the sum of the terms whose names
/// agree, each with its amplitude. `noise` is what measuring twice differs by. Variances of natural
/// logarithms.
struct Kernel {
  std::array<double, Descriptor::kNumbers> weights{};
  std::array<double, kKernelTerms> amplitudes{};
  double noise = 0.02;

  double covariance(const CodedPoint& a, const CodedPoint& b) const;
  /// Of the residual at a point about which nothing is known.
  double variance(const CodedPoint& point) const;
};

/// The kernel under which the residuals are most likely (type-II maximum likelihood with weak
/// priors: resilient back-propagation, whose step depends on the sign of the gradient alone).
/// Deterministic. O(iterations * n^3): meant for some hundred points.
Kernel likeliest_kernel(const std::vector<CodedPoint>& points, const std::vector<double>& residuals,
                        int iterations);

}  // namespace dyn::eval
