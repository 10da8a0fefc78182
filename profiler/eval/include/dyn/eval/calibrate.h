#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "dyn/core/layout.h"
#include "dyn/core/model_spec.h"
#include "dyn/core/profile.h"
#include "dyn/core/recipe.h"
#include "dyn/eval/measured.h"
#include "dyn/eval/recorded.h"

namespace dyn::eval {

/// What recorded runs ran on: one engine.
struct Deployment {
  Profile profile;
  ModelSpec model;
  Precision weights = Precision::bf16;
  Precision kv_cache = Precision::bf16;
  ParallelLayout layout;
  EngineConfig config;  ///< kv_blocks: none means what the memory model leaves
};

/// The constants that a run may adjust.
enum class Constant {
  step_base,          ///< host time of a step
  step_per_sequence,  ///< and of each sequence in it
  frontend,           ///< added to TTFT
  prefill_time,       ///< factor on the device's time for steps of many tokens
  decode_time,        ///< factor on its time for steps of few
};
inline constexpr std::size_t kConstants = 5;
const char* to_text(Constant constant);

/// A fitted constant: milliseconds, or a factor.
struct FittedConstant {
  Constant constant = Constant::step_base;
  double before = 0;
  double after = 0;
  double deviation = 0;  ///< standard error
};

/// Means of a run in milliseconds, measured and predicted.
struct RunFigures {
  std::string run;
  std::string part;  ///< which requests: all of them, or those that were held out
  struct Figure {
    double measured = 0;
    double before = 0;  ///< with the profile as it was
    double after = 0;
    double low = 0;  ///< 90 % interval of `after`
    double high = 0;
    double error_before() const { return before / measured - 1; }
    double error_after() const { return after / measured - 1; }
  };
  Figure ttft;
  Figure itl;
  Figure e2e;
};

struct Calibration {
  Profile profile;  ///< with the constants and where they are from
  std::vector<FittedConstant> constants;
  std::vector<RunFigures> fitted;  ///< the runs given, all requests
  /// Last thirds of the runs, predicted from the first two; of three or more runs of means, each
  /// from the others. Empty for one or two runs of means.
  std::vector<RunFigures> held_out;
  std::vector<RunFigures> predicted;  ///< runs that only were to be predicted
  /// Half-width of the 90 % interval of a prediction. Wider where nothing was held out and the
  /// constants are nearly as many as the figures.
  double relative_error = 0;
};

/// Adjusts the constants so that simulations of the runs have the measured TTFT (by prompt length)
/// and ITL, by least squares. Without a choice of constants, those of step_base, one of
/// step_per_sequence and decode_time, the frontend and prefill_time that the runs can tell and
/// that fit best. Pure. Throws Error(infeasible) that names each constant which the runs cannot
/// tell, and from which other one; Error(bad_input) for a run whose mean times are far below what
/// the device needs at its specified rates, as those of seconds are.
Calibration calibrate(const Deployment& deployment, const std::vector<RecordedRun>& runs,
                      const std::vector<Constant>& constants,
                      const std::vector<RecordedRun>& predict);

/// The runs of a measured table of one deployment, and what it ran on: rows that differ in
/// concurrency and lengths alone, aggregated, of one GPU's built-in profile. Throws
/// Error(bad_input) that names the first row which is of another deployment, disaggregated or not
/// measured, and all whose times no such GPUs can have (PointPredictor::check_times).
struct MeasuredRuns {
  std::vector<RecordedRun> runs;
  Deployment deployment;
};
MeasuredRuns runs_of(const MeasuredTable& table);

std::string to_text(const Calibration& calibration);
std::string to_json(const Calibration& calibration);

}  // namespace dyn::eval
