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

/// What is added to the logarithms of a prediction, and the deviation of what remains.
struct Correction {
  double log_ttft = 0;
  double log_tpot = 0;
  double ttft_sigma = 0.4;  ///< of the natural logarithm; the 90 % interval is 1.645 of it
  double tpot_sigma = 0.2;
};

/// Residual of the latency model by engine and mode, fitted on measured points. Immutable;
/// thread-safe.
class CorrectionModel {
 public:
  /// The one that ships with dyn.
  static CorrectionModel builtin();
  /// From the rows that have a prediction and a measurement. Few rows leave it near no correction.
  static CorrectionModel fit(std::span<const EvaluatedRow> train);

  Correction at(const EvaluatedRow& row) const;

  ~CorrectionModel();
  CorrectionModel(CorrectionModel&&) noexcept;
  CorrectionModel& operator=(CorrectionModel&&) noexcept;

 private:
  CorrectionModel();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dyn::eval
