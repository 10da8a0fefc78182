#include "dyn/eval/serving_factors.h"

#include <fmt/format.h>

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "dyn/core/math.h"

namespace dyn::eval {
namespace {

constexpr int kParts = 5;
using Parts = Eigen::Matrix<double, kParts, 1>;
using Matrix = Eigen::Matrix<double, kParts, kParts>;

constexpr double kLeast = 0.8;
constexpr double kMost = 2.5;
constexpr double kRidge = 0.3;
constexpr double kHuber = 0.15;
constexpr int kRounds = 60;
constexpr double kStride = 0.7;  ///< of a Gauss-Newton step: residuals' weights change with it

struct Run {
  Parts parts;          ///< of the predicted TPOT
  double residual = 0;  ///< log(measured / predicted)
};

Run run_of(const EvaluatedRow& row) {
  const ClassTimes& step = row.raw->features.decode;
  // A speculative step yields several tokens: its parts are shares of the step.
  const double whole = std::max(row.raw->tpot_ms, step.total());
  Run run;
  run.parts << step.gemm, step.attention, step.experts, step.collective, step.elementwise;
  run.parts /= whole;
  run.residual = portable_log(*row.row.tpot_ms / row.raw->tpot_ms);
  return run;
}

/// What each factor is beyond 1.
Parts fit(const std::vector<Run>& runs) {
  Parts extra = Parts::Zero();
  for (int round = 0; round < kRounds; ++round) {
    Matrix matrix = kRidge * Matrix::Identity();
    Parts vector = -kRidge * extra;
    for (const Run& run : runs) {
      const double total = 1 + extra.dot(run.parts);
      const double left = run.residual - portable_log(total);
      const double weight = 1 / std::max(1.0, std::abs(left) / kHuber);
      const Parts slope = run.parts / total;
      vector += weight * left * slope;
      matrix += weight * slope * slope.transpose();
    }
    for (int i = 0; i < kParts; ++i) {
      const bool stuck =
          (extra[i] <= kLeast - 1 && vector[i] < 0) || (extra[i] >= kMost - 1 && vector[i] > 0);
      if (stuck) {
        matrix.row(i).setZero();
        matrix.col(i).setZero();
        matrix(i, i) = 1;
        vector[i] = 0;
      }
    }
    extra += kStride * matrix.ldlt().solve(vector);
    extra = extra.cwiseMax(kLeast - 1).cwiseMin(kMost - 1);
  }
  return extra;
}

double hundredths(double x) {
  return std::round(x * 100) / 100;
}

}  // namespace

FactorsByEngine fit_serving_factors(std::span<const EvaluatedRow> rows) {
  std::map<std::string, std::vector<Run>> runs;
  for (const EvaluatedRow& row : rows) {
    if (row.measured()) {
      runs[row.row.engine].push_back(run_of(row));
    }
  }
  FactorsByEngine factors;
  for (const auto& [engine, own] : runs) {
    const Parts extra = fit(own);
    const auto factor = [&](int part) { return hundredths(1 + extra[part]); };
    factors[engine] = {factor(0), factor(1), factor(2),
                       factor(3), factor(4), std::to_string(own.size()) + " measured runs"};
  }
  return factors;
}

ProfileSource with_serving_factors(ProfileSource profiles, FactorsByEngine factors) {
  return [profiles = std::move(profiles), factors = std::move(factors)](const std::string& gpu) {
    Profile profile = profiles(gpu);
    for (EngineHost& host : profile.engines) {
      const auto found = factors.find(host.engine);
      if (host.serving && found != factors.end()) {
        host.serving = found->second;
      } else {
        host.serving.reset();
      }
    }
    return profile;
  };
}

std::string to_markdown(const FactorsByEngine& factors) {
  std::string out =
      "\n## What kernels take in an engine's steps\n\n"
      "As multiples of what they take measured alone, fitted on the TPOT of all rows; the folds "
      "above have each their own, fitted on the other rows. Not fitted anew in a fold: the "
      "engines' host times (on dense models on H100 and H200), the counts of steps and the "
      "acceptance lengths of `serving.cpp`, and where the search for a residual's covariance "
      "begins (`kernel.cpp`).\n\n"
      "| engine | gemm | attention | experts | collective | elementwise "
      "|\n|---|---|---|---|---|---|"
      "\n";
  for (const auto& [engine, of] : factors) {
    out += fmt::format("| {} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} |\n", engine, of.gemm,
                       of.attention, of.experts, of.collective, of.elementwise);
  }
  return out;
}

}  // namespace dyn::eval
