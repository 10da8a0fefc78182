#pragma once

#include <functional>
#include <vector>

namespace dyn::eval {

/// A problem of few parameters: residuals in units of their deviations.
struct LeastSquares {
  std::function<std::vector<double>(const std::vector<double>&)> residuals;
  std::vector<double> start;
  std::vector<double> step;   ///< of each parameter, for derivatives; > 0
  std::vector<double> least;  ///< lower bound of each parameter
};

struct LeastSquaresFit {
  std::vector<double> parameters;
  std::vector<double> deviation;  ///< standard error of each; infinite where nothing tells it
  /// Correlation of the errors of each pair, row by row; 0 where undefined.
  std::vector<double> correlation;
  double cost = 0;  ///< sum of squared residuals
};

/// Damped Gauss-Newton with derivatives by differences. Deterministic.
LeastSquaresFit solve(const LeastSquares& problem);

}  // namespace dyn::eval
