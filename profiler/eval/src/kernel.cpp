#include "kernel.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

#include "dyn/core/math.h"

namespace dyn::eval {
namespace {

constexpr std::size_t kNumbers = Descriptor::kNumbers;
constexpr std::size_t kNames = Descriptor::kNames;
// Parameters: logarithms of the weights, logits of kinship, logarithms of the five variances.
constexpr std::size_t kAmplitudes = kNumbers + kNames;
constexpr std::size_t kParameters = kAmplitudes + 5;
using Parameters = std::array<double, kParameters>;

/// Priors: weights near exp(-2), everything else near 1 / 2 or 1, all weak.
constexpr double kWeightPrior = -2;
constexpr double kWeightPrecision = 0.05;
constexpr double kOtherPrecision = 0.01;
constexpr double kLeast = -9;
constexpr double kMost = 3;
constexpr double kFirstStep = 0.2;
constexpr double kLeastStep = 1e-3;
constexpr double kMostStep = 1.0;

double kin_of(const Kernel& kernel, const CodedPoint& a, const CodedPoint& b) {
  double kin = 1;
  for (std::size_t c = 0; c < kNames; ++c) {
    kin *= a.names[c] == b.names[c] ? 1 : kernel.kinship[c];
  }
  return kin;
}

Parameters first_guess() {
  Parameters p{};
  std::fill(p.begin(), p.begin() + kNumbers, kWeightPrior);
  for (std::size_t i = kAmplitudes; i + 1 < kParameters; ++i) {
    p[i] = -2;
  }
  p.back() = -4;
  return p;
}

Kernel kernel_of(const Parameters& p) {
  Kernel kernel;
  for (std::size_t i = 0; i < kNumbers; ++i) {
    kernel.weights[i] = portable_exp(p[i]);
  }
  for (std::size_t i = 0; i < kNames; ++i) {
    kernel.kinship[i] = 1 / (1 + portable_exp(-p[kNumbers + i]));
  }
  double* const amplitudes[] = {&kernel.smooth, &kernel.rough, &kernel.engine, &kernel.common,
                                &kernel.noise};
  for (std::size_t i = 0; i < 5; ++i) {
    *amplitudes[i] = portable_exp(p[kAmplitudes + i]);
  }
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
      k(i, j) = kernel.covariance(points[i], points[j]);
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
      std::array<double, kNumbers> squares;
      double d = 0;
      for (std::size_t c = 0; c < kNumbers; ++c) {
        const double x = a.numbers[c] - b.numbers[c];
        squares[c] = kernel.weights[c] * x * x;
        d += squares[c];
      }
      const double kin = kin_of(kernel, a, b);
      const double smooth = kin * kernel.smooth * portable_exp(-0.5 * d);
      const double tail = 1 / (1 + d / 8);
      const double rough = kin * kernel.rough * tail;
      const double slope = w * (-0.5 * smooth - 0.125 * rough * tail);
      for (std::size_t c = 0; c < kNumbers; ++c) {
        g[c] += slope * squares[c];
      }
      for (std::size_t c = 0; c < kNames; ++c) {
        if (a.names[c] != b.names[c]) {
          g[kNumbers + c] += w * (smooth + rough) * (1 - kernel.kinship[c]);
        }
      }
      g[kAmplitudes] += w * smooth;
      g[kAmplitudes + 1] += w * rough;
      g[kAmplitudes + 2] += a.names[0] == b.names[0] ? w * kernel.engine : 0;
      g[kAmplitudes + 3] += w * kernel.common;
      g[kAmplitudes + 4] += i == j ? w * kernel.noise : 0;
    }
  }
  for (std::size_t c = 0; c < kParameters; ++c) {
    g[c] +=
        c < kNumbers ? 2 * kWeightPrecision * (p[c] - kWeightPrior) : 2 * kOtherPrecision * p[c];
  }
  return g;
}

}  // namespace

double Kernel::covariance(const CodedPoint& a, const CodedPoint& b) const {
  double d = 0;
  for (std::size_t c = 0; c < kNumbers; ++c) {
    const double x = a.numbers[c] - b.numbers[c];
    d += weights[c] * x * x;
  }
  return kin_of(*this, a, b) * (smooth * portable_exp(-0.5 * d) + rough / (1 + d / 8)) +
         (a.names[0] == b.names[0] ? engine : 0) + common;
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
        p[c] = std::clamp(p[c], kLeast, kMost + (c >= kNumbers && c < kAmplitudes ? 3 : 0));
      }
    }
    before = g;
  }
  return kernel_of(p);
}

}  // namespace dyn::eval
