#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "dyn/eval/correction.h"
#include "dyn/eval/measured.h"
#include "dyn/eval/point.h"
#include "dyn/eval/serving_factors.h"

namespace dyn::eval {

struct EvaluateOptions {
  int threads = 0;                       ///< rows answered at a time; 0: one a core
  std::function<void(double)> progress;  ///< called on one thread with the share that is done
  const std::atomic<bool>* cancelled = nullptr;
};

/// A row of the table with what the model says of it before any correction. Rows that are not
/// complete, and those that cannot be answered, say why in `refused`. The same for any number of
/// threads.
std::vector<EvaluatedRow> predict_rows(const std::vector<MeasuredRow>& rows,
                                       const PointPredictor& predictor,
                                       const EvaluateOptions& options);

/// Applies a correction: fills `answer` of every row that has a prediction.
void correct(const CorrectionModel& model, std::vector<EvaluatedRow>& rows);

/// How a row's fold is chosen, in cross-validation.
enum class Folds {
  groups,  ///< five folds of deployments that are alike but for concurrency (MeasuredRow::group)
  models,  ///< one fold a model, by its name: checkpoints of other names may be alike
  shapes,  ///< one fold for all models of one architecture and size: nothing of it is seen
};

/// Rows predicted with these serving factors; none at all where it was interrupted.
using PredictWith = std::function<std::vector<EvaluatedRow>(const std::vector<MeasuredRow>& rows,
                                                            const FactorsByEngine& factors)>;

/// The rows with each answer by what was fitted on the measured rows of the other folds alone: a
/// correction, and, given `predict`, the serving factors that the rows are predicted with, too;
/// then `rows` are predictions without any. The folds of groups are by a fixed hash of the group.
/// Empty where `predict` was interrupted.
std::vector<EvaluatedRow> cross_validate(std::vector<EvaluatedRow> rows, Folds folds,
                                         const PredictWith& predict = nullptr);

}  // namespace dyn::eval
