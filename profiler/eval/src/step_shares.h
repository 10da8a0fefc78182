#pragma once

#include "dyn/eval/point.h"
#include "dyn/perf/perf_model.h"

namespace dyn::eval {

/// A step's time by kind of work, and of what quality it is.
struct StepShares {
  ClassTimes times;
  double relative_error = 0;
  Provenance provenance = Provenance::specification;
};

/// The shares of a step; sequences and lengths are rounded to whole ones, at least 1.
StepShares decode_shares(const perf::PerfModel& model, double sequences, double context);
StepShares prefill_shares(const perf::PerfModel& model, double tokens, double sequences);

}  // namespace dyn::eval
