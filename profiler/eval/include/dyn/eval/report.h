#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "dyn/eval/correction.h"
#include "dyn/perf/model_spread.h"

namespace dyn::eval {

/// Errors of one figure over the rows of a slice, as fractions of what was measured.
struct ErrorSummary {
  double mean_absolute = 0;    ///< MAPE
  double median_absolute = 0;  ///< median APE
  double bias = 0;             ///< median of predicted / measured - 1
  double coverage = 0;         ///< share of measured values inside the 90 % interval
};

/// The rows that have one value of a property.
struct Slice {
  std::string property;  ///< all, source, system, engine, model, mode, lengths, gpus, concurrency
  std::string value;
  std::size_t rows = 0;  ///< answered and measured
  ErrorSummary ttft;
  ErrorSummary tpot;
};

/// How a table was answered.
struct Accuracy {
  std::size_t rows = 0;  ///< of the table
  std::size_t complete = 0;
  std::size_t answered = 0;  ///< of the complete
  std::size_t measured = 0;  ///< of the answered
  std::vector<Slice> slices;
};

/// Errors of the corrected answers by slice; with `raw`, of the model before correction, with the
/// interval that it states for a prefill step (TTFT) and a decode step (TPOT), widened by
/// perf::model_spread() as simulations' are.
Accuracy summarize(const std::vector<EvaluatedRow>& rows, bool raw = false);

/// What perf::model_spread() should be, as far as these rows know.
struct EngineSpread {
  std::string engine;  ///< or all
  std::size_t rows = 0;
  perf::ModelSpread spread;
};
std::vector<EngineSpread> engine_spreads(const std::vector<EvaluatedRow>& rows);
std::string to_markdown(const std::vector<EngineSpread>& spreads);

/// 1-4, 5-16, 17-64, 65-256, 257-1024 or above.
std::string concurrency_band(int concurrency);

/// Accuracies of one table under several titles, such as how their correction was fitted.
struct TitledAccuracy {
  std::string title;
  Accuracy accuracy;
};

std::string to_text(const Accuracy& accuracy);
std::string to_json(const std::vector<TitledAccuracy>& accuracies, const std::string& table);
std::string to_markdown(const std::vector<TitledAccuracy>& accuracies, const std::string& command);

/// One line a row answered: id, ttft_ms, tpot_ms, ttft_low_ms, ttft_high_ms, tpot_low_ms,
/// tpot_high_ms, provenance.
std::string answers_csv(const std::vector<EvaluatedRow>& rows);
/// One line a row answered, uncorrected, with every field of PointFeatures, for those who fit
/// corrections.
std::string features_csv(const std::vector<EvaluatedRow>& rows);
/// Rows that were not answered and why, most frequent reason first; empty if there are none.
std::string refusals_text(const std::vector<EvaluatedRow>& rows);
/// A page of its own: tables, and predicted over measured by slice.
std::string to_html(const std::vector<TitledAccuracy>& accuracies,
                    const std::vector<EvaluatedRow>& rows, const std::string& table);

}  // namespace dyn::eval
