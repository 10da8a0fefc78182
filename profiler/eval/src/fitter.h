#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "dyn/core/error.h"
#include "least_squares.h"
#include "run_simulator.h"

namespace dyn::eval {

/// Two runs do not repeat better than this, relative.
inline constexpr double kLeastDeviation = 0.03;

/// Requests of a run that count.
struct Part {
  std::size_t begin = 0;
  std::size_t end = 0;
};
Part all_of(const RecordedRun& run);
/// The first two thirds; all of a run of means.
Part first_part(const RecordedRun& run);

/// A mean over some requests, and how well the measured one is known.
struct Mean {
  double predicted = 0;
  double measured = 0;
  double deviation = 0;  ///< relative
};

/// Over those requests whose measured value is above 0.
template <class Measured, class Predicted>
Mean mean_of(const std::vector<std::size_t>& requests, Measured measured, Predicted predicted) {
  Mean mean;
  double n = 0;
  for (const std::size_t i : requests) {
    const double x = measured(i);
    mean.measured += x > 0 ? x : 0;
    mean.predicted += x > 0 ? predicted(i) : 0;
    n += x > 0 ? 1 : 0;
  }
  n = std::max(n, 1.0);
  mean.measured /= n;
  mean.predicted /= n;
  return mean;
}

/// The fit of chosen constants to a part of each run. Refers to its arguments.
class Fitter {
 public:
  Fitter(const RunSimulator& simulator, const std::vector<RecordedRun>& runs,
         const std::vector<Constant>& constants, const ConstantValues& start);

  const RunSimulator& simulator() const { return simulator_; }
  const std::vector<Constant>& constants() const { return constants_; }
  const ConstantValues& start() const { return start_; }

  /// All constants, with the fitted ones as the parameters say.
  ConstantValues values(const std::vector<double>& parameters) const;
  /// Least squares over the means of all requests, or of the first part of each run.
  LeastSquaresFit fit(bool all) const;
  /// One error for each constant whose own error is too large.
  std::vector<ErrorItem> unidentified(const LeastSquaresFit& fit) const;

 private:
  double unit(Constant constant) const;
  std::string names() const;

  const RunSimulator& simulator_;
  const std::vector<RecordedRun>& runs_;
  const std::vector<Constant>& constants_;
  ConstantValues start_;
  double itl_ = 0;   ///< ms, mean of the runs
  double ttft_ = 0;  ///< ms
  double sequences_ = 1;
};

}  // namespace dyn::eval
