#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "dyn/eval/measured.h"
#include "dyn/eval/point.h"

namespace dyn::eval {

/// A corrected prediction with its 90 % interval, milliseconds.
struct Answer {
  Estimate ttft;
  Estimate tpot;
};

/// A measured row and what is predicted of it.
struct EvaluatedRow {
  MeasuredRow row;
  std::optional<PointPrediction> raw;  ///< before correction; none: not answered
  std::string refused;                 ///< why not
  std::optional<Answer> answer;

  bool measured() const { return raw && row.ttft_ms && row.tpot_ms; }
};

/// What is added to the logarithms of a prediction for the median of what would be measured, and
/// the deviation around it.
struct Correction {
  double log_ttft = 0;
  double log_tpot = 0;
  double ttft_sigma = 0.4;  ///< of the natural logarithm; the 90 % interval is 1.645 of it
  double tpot_sigma = 0.2;
};

/// What measured deployments say that the latency model leaves out: a Gaussian process of the
/// logarithm of measured / predicted, over what a deployment is (engine and version, system, model,
/// precision, lengths, batch, layout) and over where its time goes in the simulation. Near
/// measurements it takes their word, away from them it returns to the model with a wider interval.
/// Immutable; thread-safe.
class CorrectionModel {
 public:
  /// The one that ships with dyn: profiler/eval/corrections.json, fitted on
  /// all published rows that there are.
  static CorrectionModel builtin();
  /// From the rows that have a prediction and a measurement. Takes seconds. Deterministic.
  static CorrectionModel fit(std::span<const EvaluatedRow> train);
  /// From the text of a file (schema dyn.correction/1). Throws Error(bad_input).
  static CorrectionModel parse(const std::string& text, const std::string& name);

  std::string to_json(const std::string& source) const;
  Correction at(const EvaluatedRow& row) const;

  ~CorrectionModel();
  CorrectionModel(CorrectionModel&&) noexcept;
  CorrectionModel& operator=(CorrectionModel&&) noexcept;

 private:
  struct Impl;
  explicit CorrectionModel(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace dyn::eval
