#pragma once

#include <string>
#include <vector>

#include "dyn/core/provenance.h"
#include "dyn/perf/perf_model.h"

namespace dyn::profiler {

/// What one engine step consists of.
struct ExplainedStep {
  std::string title;  ///< such as decode: 64 sequences of 4000 tokens
  Estimate time;      ///< seconds, of the whole step
  std::vector<perf::OperatorTime> operators;
};

/// The operators of a step of `model`, in order of execution.
ExplainedStep explain_step(const perf::PerfModel& model, const perf::StepBatch& batch,
                           const std::string& title);

/// What bounds an operator, for people: compute, bandwidth, link, launch or host.
std::string bound_text(const perf::OperatorTime& time);

/// Tables for people: time, share, bound, interval and provenance of each operator, with sources.
std::string to_text(const std::vector<ExplainedStep>& steps);
/// The same as one JSON document (dyn.explanation/1).
std::string to_json(const std::vector<ExplainedStep>& steps);

}  // namespace dyn::profiler
