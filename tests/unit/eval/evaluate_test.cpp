#include "dyn/eval/evaluate.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "dyn/core/error.h"
#include "dyn/eval/report.h"
#include "dyn/perf/builtin_profiles.h"
#include "tables.h"

namespace dyn::eval {
namespace {

/// Rows of many deployments, all predicted as 100 and 10 ms and measured at twice and half of it.
std::vector<EvaluatedRow> made_rows(double ttft_factor, double tpot_factor) {
  std::vector<EvaluatedRow> rows;
  for (int i = 0; i < 60; ++i) {
    EvaluatedRow row;
    row.row = test::table(test::row("r" + std::to_string(i), 4 + i % 3)).rows.front();
    row.row.isl = 100 + i / 3;
    row.row.model = "m" + std::to_string(i % 4);
    row.row.ttft_ms = 100 * ttft_factor;
    row.row.tpot_ms = 10 * tpot_factor;
    row.raw = PointPrediction{100, 10, Provenance::interpolated, {}};
    rows.push_back(row);
  }
  return rows;
}

TEST_CASE("rows are answered the same by any number of threads, and say why not") {
  MeasuredTable table =
      test::table(test::row("a", 1) + test::row("b", 4) + test::row("c", 8) + test::row("d", 2));
  table.rows[1].model = "nobody/nothing";
  table.rows[3].complete = false;
  std::string first;
  for (const int threads : {1, 3}) {
    const PointPredictor predictor(perf::builtin_profile);
    EvaluateOptions options;
    options.threads = threads;
    std::vector<EvaluatedRow> rows = predict_rows(table.rows, predictor, options);
    correct(CorrectionModel::builtin(), rows);
    REQUIRE(rows.size() == 4);
    CHECK(rows[0].answer);
    CHECK_FALSE(rows[1].raw);
    CHECK(rows[1].refused.find("nobody/nothing") != std::string::npos);
    CHECK_FALSE(rows[3].raw);
    const std::string text = answers_csv(rows) + features_csv(rows);
    CHECK((first.empty() || text == first));
    first = text;
  }
}

/// The middle of an interval of logarithms, the median of what would be measured.
double median_of(const Estimate& estimate) {
  return std::sqrt(estimate.low * estimate.high);
}

TEST_CASE("a fitted correction takes out what all rows are off by") {
  std::vector<EvaluatedRow> rows = made_rows(2, 0.5);
  correct(CorrectionModel::fit(rows), rows);
  for (const EvaluatedRow& row : rows) {
    CHECK(row.answer->ttft.value == Approx(200).epsilon(0.15));
    CHECK(row.answer->tpot.value == Approx(5).epsilon(0.15));
    CHECK(row.answer->ttft.low <= row.answer->ttft.value);
    CHECK(row.answer->ttft.high >= row.answer->ttft.value);
  }
}

TEST_CASE("a correction that was written is read back the same") {
  const std::vector<EvaluatedRow> rows = made_rows(2, 0.5);
  const CorrectionModel model = CorrectionModel::fit(rows);
  const CorrectionModel copy = CorrectionModel::parse(model.to_json("test"), "copy.json");
  for (const EvaluatedRow& row : rows) {
    CHECK(copy.at(row).log_ttft == Approx(model.at(row).log_ttft).margin(0.01));
    CHECK(copy.at(row).tpot_sigma == Approx(model.at(row).tpot_sigma).margin(0.01));
  }
  CHECK_THROWS_AS(CorrectionModel::parse("{\"schema\": \"dyn.correction/3\"}", "new.json"), Error);
  CHECK_THROWS_AS(CorrectionModel::parse(model.to_json("test").substr(0, 500), "cut.json"), Error);
}

TEST_CASE("without measurements there is no correction") {
  std::vector<EvaluatedRow> rows = made_rows(2, 0.5);
  for (EvaluatedRow& row : rows) {
    row.row.ttft_ms.reset();
  }
  correct(CorrectionModel::fit(rows), rows);
  CHECK(median_of(rows.front().answer->ttft) == Approx(100));
}

TEST_CASE("cross-validation does not let a row see itself") {
  std::vector<EvaluatedRow> rows = made_rows(1, 1);
  // The rows of one model are off; nothing of that can be known from the others.
  for (EvaluatedRow& row : rows) {
    if (row.row.model == "m0") {
      row.row.ttft_ms = 1000;
    }
  }
  for (const EvaluatedRow& row : cross_validate(rows, Folds::models)) {
    if (row.row.model == "m0") {
      CHECK(median_of(row.answer->ttft) == Approx(100).epsilon(0.05));
    }
  }
}

TEST_CASE("rows that differ in concurrency alone are in one fold") {
  std::vector<EvaluatedRow> rows = made_rows(1, 1);
  // One group of three is off; none of it may learn that from another of its members.
  for (EvaluatedRow& row : rows) {
    if (row.row.isl == 105) {
      row.row.ttft_ms = 1000;
    }
  }
  for (const EvaluatedRow& row : cross_validate(rows, Folds::groups)) {
    if (row.row.isl == 105) {
      CHECK(median_of(row.answer->ttft) == Approx(100).epsilon(0.2));
    }
  }
}

}  // namespace
}  // namespace dyn::eval
