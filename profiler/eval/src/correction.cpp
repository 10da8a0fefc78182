#include "dyn/eval/correction.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "dyn/core/math.h"

namespace dyn::eval {
namespace {

/// Rows that a slice's own mean counts as much as no correction.
constexpr double kPrior = 10;
/// The share of absolute residuals that a 90 % interval holds.
constexpr double kShare = 0.9;
constexpr double kNormal = 1.6449;  ///< 95 % quantile of the normal distribution
constexpr std::size_t kFewRows = 20;

std::string slice_of(const MeasuredRow& row) {
  return row.engine + '|' + row.mode();
}

/// Deviation such that `kShare` of the residuals lie in the interval it gives.
double robust_sigma(std::vector<double> residuals, double few) {
  if (residuals.size() < kFewRows) {
    return few;
  }
  for (double& r : residuals) {
    r = std::abs(r);
  }
  const auto nth = static_cast<std::ptrdiff_t>(kShare * static_cast<double>(residuals.size()));
  std::nth_element(residuals.begin(), residuals.begin() + nth, residuals.end());
  return residuals[static_cast<std::size_t>(nth)] / kNormal;
}

/// A mean drawn to 0.
double shrunk_median(std::vector<double> values) {
  if (values.empty()) {
    return 0;
  }
  const auto middle = static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), values.begin() + middle, values.end());
  const auto n = static_cast<double>(values.size());
  return values[static_cast<std::size_t>(middle)] * n / (n + kPrior);
}

struct Residuals {
  std::vector<double> ttft;
  std::vector<double> tpot;
};

}  // namespace

struct CorrectionModel::Impl {
  std::map<std::string, Correction> slices;
  Correction rest;
};

CorrectionModel::CorrectionModel() : impl_(std::make_unique<Impl>()) {}
CorrectionModel::~CorrectionModel() = default;
CorrectionModel::CorrectionModel(CorrectionModel&&) noexcept = default;
CorrectionModel& CorrectionModel::operator=(CorrectionModel&&) noexcept = default;

CorrectionModel CorrectionModel::builtin() {
  return {};
}

CorrectionModel CorrectionModel::fit(std::span<const EvaluatedRow> train) {
  CorrectionModel model;
  std::map<std::string, Residuals> slices;
  for (const EvaluatedRow& row : train) {
    if (row.measured()) {
      Residuals& slice = slices[slice_of(row.row)];
      slice.ttft.push_back(portable_log(*row.row.ttft_ms / row.raw->ttft_ms));
      slice.tpot.push_back(portable_log(*row.row.tpot_ms / row.raw->tpot_ms));
    }
  }
  for (auto& [name, slice] : slices) {
    Correction correction;
    correction.log_ttft = shrunk_median(slice.ttft);
    correction.log_tpot = shrunk_median(slice.tpot);
    for (double& r : slice.ttft) {
      r -= correction.log_ttft;
    }
    for (double& r : slice.tpot) {
      r -= correction.log_tpot;
    }
    correction.ttft_sigma = robust_sigma(slice.ttft, model.impl_->rest.ttft_sigma);
    correction.tpot_sigma = robust_sigma(slice.tpot, model.impl_->rest.tpot_sigma);
    model.impl_->slices[name] = correction;
  }
  return model;
}

Correction CorrectionModel::at(const EvaluatedRow& row) const {
  const auto found = impl_->slices.find(slice_of(row.row));
  return found == impl_->slices.end() ? impl_->rest : found->second;
}

}  // namespace dyn::eval
