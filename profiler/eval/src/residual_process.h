#pragma once

#include <vector>

#include "kernel.h"

namespace dyn::eval {

/// What a residual process says at one point.
struct ResidualAt {
  double mean = 0;
  double variance = 0;  ///< of a new measurement
};

/// A Gaussian process of residuals, kept as weights at some of the points it was fitted on
/// (the projected process, or "deterministic training conditional": Quinonero-Candela and
/// Rasmussen, JMLR 6, 2005). Immutable; shared by threads.
class ResidualProcess {
 public:
  /// `centres` are indices into `points`. Residuals far from what their neighbours say count
  /// less (two rounds of reweighting), so that a wrong measurement misleads nobody.
  static ResidualProcess fit(const Kernel& kernel, const std::vector<CodedPoint>& points,
                             const std::vector<double>& residuals,
                             const std::vector<std::size_t>& centres);
  /// From its parts, as a file keeps them.
  ResidualProcess(const Kernel& kernel, std::vector<CodedPoint> centres,
                  std::vector<double> weights, std::vector<double> spread);

  ResidualAt at(const CodedPoint& point) const;

  const Kernel& kernel() const { return kernel_; }
  const std::vector<CodedPoint>& centres() const { return centres_; }
  const std::vector<double>& weights() const { return weights_; }
  /// Variance of the mean at each centre.
  const std::vector<double>& spread() const { return spread_; }

 private:
  Kernel kernel_;
  std::vector<CodedPoint> centres_;
  std::vector<double> weights_;
  std::vector<double> spread_;
  std::vector<double> factor_;  // lower Cholesky factor of the centres' covariance, row by row
};

/// Up to `most` points that together say most about all the others: pivots of an incomplete
/// Cholesky factorisation.
std::vector<std::size_t> choose_centres(const Kernel& kernel, const std::vector<CodedPoint>& points,
                                        std::size_t most);

}  // namespace dyn::eval
