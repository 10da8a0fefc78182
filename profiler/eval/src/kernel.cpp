#include "kernel.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

#include "dyn/core/math.h"

namespace dyn::eval {
namespace {

constexpr std::size_t kNumbers = Descriptor::kNumbers;
constexpr std::size_t kNames = Descriptor::kNames;
// Parameters: logarithms of the weights, of the amplitudes and of the noise.
constexpr std::size_t kParameters = kNumbers + kKernelTerms + 1;
using Parameters = std::array<double, kParameters>;

/// Priors of the logarithms, all weak, and where the search begins. They are round figures: what
/// residuals of several versions of this model had in common.
constexpr std::array<double, kNumbers> kWeightPriors{-1, -5, -4, -5, -5, -1, -3, -2, -2, -4, -4,
                                                     -4, -2, -1, -3, -5, -4, -3, -4, -4, -4};
constexpr std::array<double, kKernelTerms> kAmplitudePriors{-3, -3, -5, -6, -5, -4,
                                                            -2, -6, -6, -4, -5, -4};
constexpr double kNoisePrior = -4.5;
constexpr double kWeightPrecision = 0.1;
constexpr double kOtherPrecision = 0.05;
constexpr double kLeast = -12;
constexpr double kMost = 3;
constexpr double kFirstStep = 0.3;
constexpr double kLeastStep = 1e-3;
constexpr double kMostStep = 1.0;

constexpr unsigned kEngine = 1;
constexpr unsigned kSystem = 2;
constexpr unsigned kVersion = 4;
constexpr unsigned kModel = 8;
constexpr unsigned kPrecision = 16;
constexpr unsigned kSetting = 32;
constexpr unsigned kAll = kEngine | kSystem | kVersion | kModel | kPrecision | kSetting;

/// The names that two points share.
unsigned shared_names(const CodedPoint& a, const CodedPoint& b) {
  unsigned shared = 0;
  for (std::size_t i = 0; i < kNames; ++i) {
    shared |= a.names[i] == b.names[i] ? 1U << i : 0U;
  }
  return shared;
}

double parts_product(const CodedPoint& a, const CodedPoint& b) {
  double sum = 0;
  for (std::size_t i = 0; i < Descriptor::kParts; ++i) {
    sum += a.parts[i] * b.parts[i];
  }
  return sum;
}

double prior_of(std::size_t parameter) {
  if (parameter < kNumbers) {
    return kWeightPriors[parameter];
  }
  return parameter + 1 < kParameters ? kAmplitudePriors[parameter - kNumbers] : kNoisePrior;
}

Parameters first_guess() {
  Parameters p{};
  for (std::size_t i = 0; i < kParameters; ++i) {
    p[i] = prior_of(i);
  }
  return p;
}

Kernel kernel_of(const Parameters& p) {
  Kernel kernel;
  for (std::size_t i = 0; i < kNumbers; ++i) {
    kernel.weights[i] = portable_exp(p[i]);
  }
  for (std::size_t i = 0; i < kKernelTerms; ++i) {
    kernel.amplitudes[i] = portable_exp(p[kNumbers + i]);
  }
  kernel.noise = portable_exp(p.back());
  return kernel;
}

/// The gradient of the negative log likelihood and priors.
Parameters gradient(const Parameters& p, const std::vector<CodedPoint>& points,
                    const Eigen::VectorXd& y) {
  const Kernel kernel = kernel_of(p);
  const auto n = static_cast<Eigen::Index>(points.size());
  Eigen::MatrixXd k(n, n);
  for (Eigen::Index i = 0; i < n; ++i) {
    for (Eigen::Index j = 0; j <= i; ++j) {
      k(i, j) = kernel.covariance(points[static_cast<std::size_t>(i)],
                                  points[static_cast<std::size_t>(j)]);
      k(j, i) = k(i, j);
    }
  }
  k.diagonal().array() += kernel.noise + 1e-8;
  const Eigen::LLT<Eigen::MatrixXd> factor(k);
  const Eigen::VectorXd alpha = factor.solve(y);
  // d/dp = sum over pairs of (K^-1 - alpha alpha^T) / 2 * dK/dp.
  const Eigen::MatrixXd inverse = factor.solve(Eigen::MatrixXd::Identity(n, n));
  Parameters g{};
  for (Eigen::Index i = 0; i < n; ++i) {
    for (Eigen::Index j = 0; j <= i; ++j) {
      const double w = (inverse(i, j) - alpha(i) * alpha(j)) * (i == j ? 0.5 : 1.0);
      const CodedPoint& a = points[static_cast<std::size_t>(i)];
      const CodedPoint& b = points[static_cast<std::size_t>(j)];
      const unsigned shared = shared_names(a, b);
      std::array<double, kNumbers> squares;
      double d = 0;
      for (std::size_t c = 0; c < kNumbers; ++c) {
        const double x = a.numbers[c] - b.numbers[c];
        squares[c] = kernel.weights[c] * x * x;
        d += squares[c];
      }
      const double smooth = portable_exp(-0.5 * d);
      const double rough = 1 / (1 + d / 8);
      const double parts = parts_product(a, b);
      double slope = 0;
      for (std::size_t t = 0; t < kKernelTerms; ++t) {
        const KernelTerm& term = kTerms[t];
        if ((term.names & shared) != term.names) {
          continue;
        }
        double part = kernel.amplitudes[t];
        if (term.shape == TermShape::parts) {
          part *= parts;
        } else {
          const bool is_smooth = term.shape == TermShape::smooth;
          part *= is_smooth ? smooth : rough;
          slope -= part * (is_smooth ? 0.5 : 0.125 * rough);
        }
        g[kNumbers + t] += w * part;
      }
      for (std::size_t c = 0; c < kNumbers; ++c) {
        g[c] += w * slope * squares[c];
      }
      g.back() += i == j ? w * kernel.noise : 0;
    }
  }
  for (std::size_t c = 0; c < kParameters; ++c) {
    const double precision = c < kNumbers ? kWeightPrecision : kOtherPrecision;
    g[c] += 2 * precision * (p[c] - prior_of(c));
  }
  return g;
}

}  // namespace

const std::array<KernelTerm, kKernelTerms> kTerms{{
    {kEngine | kSetting, TermShape::parts, "engine: parts"},
    {kEngine | kVersion | kSetting, TermShape::parts, "version: parts"},
    {kEngine | kSystem | kSetting, TermShape::parts, "engine on system: parts"},
    {kEngine | kSystem | kPrecision | kSetting, TermShape::parts,
     "engine on system in precision: parts"},
    {kEngine | kModel | kSetting, TermShape::parts, "model in engine: parts"},
    {kAll, TermShape::parts, "all names: parts"},
    {kSetting, TermShape::smooth, "all: smooth"},
    {kEngine | kSetting, TermShape::smooth, "engine: smooth"},
    {kEngine | kSystem | kSetting, TermShape::smooth, "engine on system: smooth"},
    {kAll, TermShape::smooth, "all names: smooth"},
    {kAll, TermShape::rough, "all names: rough"},
    {kEngine | kSystem | kModel | kSetting, TermShape::rough, "model in engine on system: rough"},
}};

double Kernel::covariance(const CodedPoint& a, const CodedPoint& b) const {
  double d = 0;
  for (std::size_t c = 0; c < kNumbers; ++c) {
    const double x = a.numbers[c] - b.numbers[c];
    d += weights[c] * x * x;
  }
  const unsigned shared = shared_names(a, b);
  const double smooth = portable_exp(-0.5 * d);
  const double parts = parts_product(a, b);
  double sum = 0;
  for (std::size_t t = 0; t < kKernelTerms; ++t) {
    if ((kTerms[t].names & shared) != kTerms[t].names) {
      continue;
    }
    switch (kTerms[t].shape) {
      case TermShape::parts:
        sum += amplitudes[t] * parts;
        break;
      case TermShape::smooth:
        sum += amplitudes[t] * smooth;
        break;
      case TermShape::rough:
        sum += amplitudes[t] / (1 + d / 8);
        break;
    }
  }
  return sum;
}

double Kernel::variance(const CodedPoint& point) const {
  double sum = 0;
  const double parts = parts_product(point, point);
  for (std::size_t t = 0; t < kKernelTerms; ++t) {
    sum += amplitudes[t] * (kTerms[t].shape == TermShape::parts ? parts : 1);
  }
  return sum;
}

Kernel likeliest_kernel(const std::vector<CodedPoint>& points, const std::vector<double>& residuals,
                        int iterations) {
  const Eigen::VectorXd y = Eigen::Map<const Eigen::VectorXd>(
      residuals.data(), static_cast<Eigen::Index>(residuals.size()));
  Parameters p = first_guess();
  if (points.empty()) {
    return kernel_of(p);
  }
  Parameters step;
  step.fill(kFirstStep);
  Parameters before{};
  for (int i = 0; i < iterations; ++i) {
    Parameters g = gradient(p, points, y);
    for (std::size_t c = 0; c < kParameters; ++c) {
      const double turn = g[c] * before[c];
      if (turn < 0) {
        step[c] = std::max(kLeastStep, 0.5 * step[c]);
        g[c] = 0;  // passed the minimum: the next gradient decides anew
      } else {
        step[c] = turn > 0 ? std::min(kMostStep, 1.2 * step[c]) : step[c];
        p[c] -= g[c] > 0 ? step[c] : (g[c] < 0 ? -step[c] : 0);
        p[c] = std::clamp(p[c], kLeast, kMost);
      }
    }
    before = g;
  }
  return kernel_of(p);
}

}  // namespace dyn::eval
