#include "dyn/eval/evaluate.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <exception>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "dyn/core/error.h"
#include "dyn/core/math.h"

namespace dyn::eval {
namespace {

constexpr std::uint64_t kFoldCount = 5;
constexpr double kHalfWidth = 1.6449;  ///< deviations from the middle of a 90 % interval

/// FNV-1a, with a final mix so that its low bits are good.
std::uint64_t hash_of(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  }
  hash ^= hash >> 32;
  return hash * 0x9e3779b97f4a7c15u >> 32;
}

std::string fold_of(const EvaluatedRow& row, Folds folds) {
  switch (folds) {
    case Folds::models:
      return row.row.model;
    case Folds::shapes:
      return row.raw ? row.raw->shape : row.row.model;
    case Folds::groups:
      break;
  }
  return std::to_string(hash_of(row.row.group()) % kFoldCount);
}

EvaluatedRow predict_one(const MeasuredRow& row, const PointPredictor& predictor) {
  EvaluatedRow out;
  out.row = row;
  if (!row.complete) {
    out.refused = "the table calls it incomplete";
    return out;
  }
  try {
    out.raw = predictor.predict(row);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::infeasible && error.kind() != ErrorKind::bad_input) {
      throw;
    }
    out.refused = error.items().front().message;
  }
  return out;
}

/// The interval is around the median. Errors are relative to the measured value, so that the best
/// answer is below the median: exp(-sigma^2) of it where residuals are lognormal, and half as far
/// where their tails are longer than that, as these are.
Estimate estimate(double value, double log_factor, double sigma, Provenance provenance) {
  Estimate out;
  const double median = value * portable_exp(log_factor);
  const double width = portable_exp(kHalfWidth * sigma);
  out.low = median / width;
  out.high = median * width;
  out.value = std::max(out.low, median * portable_exp(-0.5 * sigma * sigma));
  out.provenance = provenance;
  return out;
}

void apply_to(const CorrectionModel& model, EvaluatedRow& row) {
  if (!row.raw) {
    return;
  }
  const Correction c = model.at(row);
  row.answer = Answer{estimate(row.raw->ttft_ms, c.log_ttft, c.ttft_sigma, row.raw->provenance),
                      estimate(row.raw->tpot_ms, c.log_tpot, c.tpot_sigma, row.raw->provenance)};
}

/// What is left out of a fold, with its places in the table, and what is fitted on.
struct Fold {
  std::vector<EvaluatedRow> train;
  std::vector<std::pair<std::size_t, EvaluatedRow>> test;
};

/// A table's rows predicted with one set of factors after another. Predictions of an engine's rows
/// depend on its own factors alone and are kept.
class Repredicted {
 public:
  Repredicted(const std::vector<EvaluatedRow>& rows, const PredictWith& predict)
      : predict_(predict), rows_(rows) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      Engine& engine = engines_[rows[i].row.engine];
      engine.places.push_back(i);
      engine.rows.push_back(rows[i].row);
    }
  }

  /// False where that was interrupted.
  bool predict(const FactorsByEngine& factors) {
    for (auto& [name, engine] : engines_) {
      const auto own = factors.find(name);
      const ServingFactors of = own != factors.end() ? own->second : ServingFactors{};
      const std::array key{of.gemm, of.attention, of.experts, of.collective, of.elementwise};
      auto kept = engine.kept.find(key);
      if (kept == engine.kept.end()) {
        std::vector<EvaluatedRow> predicted = predict_(engine.rows, {{name, of}});
        if (predicted.size() != engine.rows.size()) {
          return false;
        }
        kept = engine.kept.emplace(key, std::move(predicted)).first;
      }
      for (std::size_t i = 0; i < engine.places.size(); ++i) {
        rows_[engine.places[i]] = kept->second[i];
      }
    }
    return true;
  }
  const std::vector<EvaluatedRow>& rows() const { return rows_; }

 private:
  struct Engine {
    std::vector<std::size_t> places;
    std::vector<MeasuredRow> rows;
    std::map<std::array<double, 5>, std::vector<EvaluatedRow>> kept;
  };
  const PredictWith& predict_;
  std::vector<EvaluatedRow> rows_;
  std::map<std::string, Engine> engines_;
};

}  // namespace

std::vector<EvaluatedRow> predict_rows(const std::vector<MeasuredRow>& rows,
                                       const PointPredictor& predictor,
                                       const EvaluateOptions& options) {
  std::vector<EvaluatedRow> out(rows.size());
  std::vector<std::exception_ptr> errors(rows.size());
  std::atomic<std::size_t> next{0};
  const auto work = [&](bool reports) {
    for (;;) {
      const std::size_t i = next.fetch_add(1);
      if (i >= rows.size() || (options.cancelled != nullptr && options.cancelled->load())) {
        return;
      }
      try {
        out[i] = predict_one(rows[i], predictor);
      } catch (...) {
        errors[i] = std::current_exception();
      }
      if (reports && options.progress) {
        options.progress(static_cast<double>(i + 1) / static_cast<double>(rows.size()));
      }
    }
  };
  const unsigned wanted = options.threads > 0 ? static_cast<unsigned>(options.threads)
                                              : std::max(1U, std::thread::hardware_concurrency());
  {
    std::vector<std::jthread> others;
    for (unsigned i = 1; i < wanted; ++i) {
      others.emplace_back([&] { work(false); });
    }
    work(true);
  }
  for (const std::exception_ptr& error : errors) {
    if (error) {
      std::rethrow_exception(error);
    }
  }
  return out;
}

void correct(const CorrectionModel& model, std::vector<EvaluatedRow>& rows) {
  for (EvaluatedRow& row : rows) {
    apply_to(model, row);
  }
}

std::vector<EvaluatedRow> cross_validate(std::vector<EvaluatedRow> rows, Folds folds,
                                         const PredictWith& predict) {
  std::set<std::string> names;
  for (const EvaluatedRow& row : rows) {
    names.insert(fold_of(row, folds));
  }
  const std::vector<std::string> order(names.begin(), names.end());
  std::optional<Repredicted> repredicted;
  if (predict) {
    repredicted.emplace(rows, predict);
  }
  std::vector<Fold> all(order.size());
  for (std::size_t fold = 0; fold < order.size(); ++fold) {
    const auto held_out = [&](const EvaluatedRow& row) {
      return fold_of(row, folds) == order[fold];
    };
    std::vector<EvaluatedRow> seen;
    std::copy_if(rows.begin(), rows.end(), std::back_inserter(seen),
                 [&](const EvaluatedRow& row) { return row.measured() && !held_out(row); });
    if (repredicted && !repredicted->predict(fit_serving_factors(seen))) {
      return {};
    }
    const std::vector<EvaluatedRow>& predicted = repredicted ? repredicted->rows() : rows;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (held_out(rows[i])) {
        all[fold].test.emplace_back(i, predicted[i]);
      } else if (predicted[i].measured()) {
        all[fold].train.push_back(predicted[i]);
      }
    }
  }
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t fold = next.fetch_add(1); fold < order.size(); fold = next.fetch_add(1)) {
      const CorrectionModel model = CorrectionModel::fit(all[fold].train);
      for (auto& [index, row] : all[fold].test) {
        apply_to(model, row);
        rows[index] = std::move(row);
      }
    }
  };
  {
    std::vector<std::jthread> others;
    for (unsigned i = 1; i < std::thread::hardware_concurrency(); ++i) {
      others.emplace_back(work);
    }
    work();
  }
  return rows;
}

}  // namespace dyn::eval
