#include "dyn/eval/serving_factors.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "dyn/core/random.h"
#include "dyn/eval/evaluate.h"
#include "dyn/perf/builtin_profiles.h"
#include "tables.h"

namespace dyn::eval {
namespace {

/// Runs whose steps are of gemm and experts in changing shares, measured as if experts took so
/// many times as long as predicted.
std::vector<EvaluatedRow> runs_of(const std::string& engine, const std::string& model, int count,
                                  double experts) {
  RandomStream random(7, "runs");
  std::vector<EvaluatedRow> rows;
  for (int i = 0; i < count; ++i) {
    EvaluatedRow row;
    row.row = test::table(test::row(engine + std::to_string(i), 4)).rows.front();
    row.row.engine = engine;
    row.row.model = model;
    row.row.isl = 100 + i;
    PointPrediction raw;
    raw.ttft_ms = 100;
    raw.tpot_ms = 10;
    raw.features.decode.experts = 1 + 6 * random.uniform();
    raw.features.decode.gemm = 10 - raw.features.decode.experts;
    row.row.ttft_ms = 100;
    row.row.tpot_ms = 10 + (experts - 1) * raw.features.decode.experts;
    row.raw = raw;
    rows.push_back(std::move(row));
  }
  return rows;
}

TEST_CASE("the part that measured steps take longer by has the factor, each engine its own") {
  std::vector<EvaluatedRow> rows = runs_of("vllm", "a", 300, 1.5);
  const std::vector<EvaluatedRow> others = runs_of("sglang", "a", 300, 0.9);
  rows.insert(rows.end(), others.begin(), others.end());
  const FactorsByEngine factors = fit_serving_factors(rows);
  REQUIRE(factors.size() == 2);
  CHECK(factors.at("vllm").experts == Approx(1.5).margin(0.05));
  CHECK(factors.at("vllm").gemm == Approx(1).margin(0.05));
  CHECK(factors.at("vllm").attention == 1);
  CHECK(factors.at("sglang").experts == Approx(0.9).margin(0.05));
  CHECK(factors.at("sglang").source == "300 measured runs");
  CHECK(to_markdown(factors).find("| vllm | 1.0") != std::string::npos);
}

TEST_CASE("few runs move a factor little, none not, and a wild one does not lead the others") {
  CHECK(fit_serving_factors({}).empty());
  CHECK(fit_serving_factors(runs_of("vllm", "a", 1, 2)).at("vllm").experts < 1.3);
  CHECK(fit_serving_factors(runs_of("vllm", "a", 300, 9)).at("vllm").experts == 2.5);
  std::vector<EvaluatedRow> rows = runs_of("vllm", "a", 100, 1.2);
  const double before = fit_serving_factors(rows).at("vllm").experts;
  rows.front().row.tpot_ms = 2000;
  CHECK(fit_serving_factors(rows).at("vllm").experts == Approx(before).margin(0.05));
}

TEST_CASE("profiles get the factors given, or none, where their kernels were measured alone") {
  const ProfileSource given =
      with_serving_factors(perf::builtin_profile, {{"vllm", {2, 1, 1, 1, 1, ""}}});
  for (const EngineHost& host : given("h200").engines) {
    CHECK(host.serving.has_value() == (host.engine == "vllm"));
  }
  CHECK(given("h200").engines.front().serving->gemm == 2);
  CHECK_FALSE(given("rtx-4090").engines.front().serving.has_value());
}

TEST_CASE("in cross-validation nobody's serving factors have seen the rows they predict") {
  std::vector<EvaluatedRow> rows = runs_of("vllm", "exact", 40, 1);
  const std::vector<EvaluatedRow> off = runs_of("vllm", "off", 40, 2);
  rows.insert(rows.end(), off.begin(), off.end());
  std::vector<double> asked;
  const PredictWith predict = [&](const std::vector<MeasuredRow>& wanted,
                                  const FactorsByEngine& factors) {
    asked.push_back(factors.at("vllm").experts);
    REQUIRE(wanted.size() == rows.size());
    std::vector<EvaluatedRow> predicted = rows;
    for (EvaluatedRow& row : predicted) {
      row.raw->tpot_ms += (factors.at("vllm").experts - 1) * row.raw->features.decode.experts;
    }
    return predicted;
  };
  const std::vector<EvaluatedRow> answered = cross_validate(rows, Folds::models, predict);
  REQUIRE(answered.size() == 80);
  REQUIRE(asked.size() == 2);
  CHECK(asked[0] > 1.5);                              // without "exact"
  CHECK(asked[1] == Approx(1));                       // without "off"
  CHECK(answered.front().raw->tpot_ms > 10.5);        // as the factor of "off" has it
  CHECK(answered.back().raw->tpot_ms == Approx(10));  // and of "exact"
  const PredictWith interrupted = [](const auto&, const auto&) {
    return std::vector<EvaluatedRow>();
  };
  CHECK(cross_validate(rows, Folds::models, interrupted).empty());
}

}  // namespace
}  // namespace dyn::eval
