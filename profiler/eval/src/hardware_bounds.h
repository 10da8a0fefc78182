#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "dyn/core/error.h"
#include "dyn/core/gpu_spec.h"
#include "dyn/core/model_spec.h"
#include "dyn/eval/calibrate.h"
#include "dyn/eval/measured.h"

// Times that no such hardware can have: what a table in seconds, or of other GPUs, looks like.

namespace dyn::eval {

/// Milliseconds below which a time cannot be of this hardware.
struct LeastTimes {
  double ttft = 0;
  double tpot = 0;
};

/// An output token reads the weights that it uses once, a prompt multiplies them by each of its
/// tokens; all GPUs of the worker share both at their specified rates. Of that an eighth and a
/// sixteenth are let through: drafts bring several tokens a step, cached prefixes are not computed
/// and tables may count a worker's GPUs twice (measured ones take 1.0 times and more). Of the
/// `formats` of weights the lightest and the fastest count. `prompt` is in tokens.
LeastTimes least_times(const ModelSpec& model, std::initializer_list<Precision> formats,
                       const GpuSpec& gpu, int gpus, double prompt);

/// What is wrong with a row's measured times on `gpu`, each with the row's place in `table`; empty
/// where nothing is, or where nothing is measured.
std::vector<ErrorItem> too_fast(const MeasuredRow& row, const ModelSpec& model, const GpuSpec& gpu,
                                const std::string& table);

/// The same of a recorded run by its mean times: single requests may find their prompt cached, or
/// get several tokens at once. Names the first request that is as fast.
std::vector<ErrorItem> too_fast(const RecordedRun& run, const Deployment& deployment);

}  // namespace dyn::eval
