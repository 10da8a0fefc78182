#pragma once

#include <vector>

#include "constants.h"
#include "dyn/core/plan.h"
#include "dyn/eval/calibrate.h"
#include "dyn/perf/perf_model.h"

namespace dyn::eval {

/// Milliseconds of one simulated request.
struct Times {
  double ttft = 0;
  double itl = 0;  ///< 0: one token
  double e2e = 0;
};

/// Simulates runs on a deployment, which must outlive it, with given constants.
class RunSimulator {
 public:
  /// Throws Error(infeasible) where the model does not fit.
  explicit RunSimulator(const Deployment& deployment);

  /// The times of each request, in the order of the run.
  std::vector<Times> run(const RecordedRun& run, const ConstantValues& values) const;

 private:
  perf::PerfTarget target() const;

  const Deployment& deployment_;
  Plan plan_;
};

}  // namespace dyn::eval
