#include "dyn/eval/report.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tables.h"

namespace dyn::eval {
namespace {

EvaluatedRow answered(const std::string& id, int concurrency, double predicted, double measured) {
  EvaluatedRow row;
  row.row = test::table(test::row("x", concurrency)).rows.front();
  row.row.id = id;
  row.row.ttft_ms = measured;
  row.row.tpot_ms = measured;
  row.raw = PointPrediction{predicted, predicted, Provenance::interpolated, {}};
  const Estimate estimate{predicted, predicted * 0.8, predicted * 1.2, Provenance::interpolated};
  row.answer = Answer{estimate, estimate};
  return row;
}

std::vector<EvaluatedRow> rows() {
  EvaluatedRow refused;
  refused.row = test::table(test::row("no", 4)).rows.front();
  refused.refused = "unknown <model>";
  return {answered("a,1", 2, 110, 100), answered("b", 8, 150, 100), answered("c", 300, 60, 100),
          refused};
}

TEST_CASE("errors are summed up by slice") {
  const Accuracy accuracy = summarize(rows());
  CHECK(accuracy.rows == 4);
  CHECK(accuracy.complete == 4);
  CHECK(accuracy.answered == 3);
  REQUIRE(accuracy.slices.front().property == "all");
  const ErrorSummary& all = accuracy.slices.front().ttft;
  CHECK(all.mean_absolute == Approx(1.0 / 3));
  CHECK(all.median_absolute == Approx(0.4));
  CHECK(all.bias == Approx(0.1));
  CHECK(all.coverage == Approx(1.0 / 3));
  std::vector<std::string> bands;
  for (const Slice& slice : accuracy.slices) {
    if (slice.property == "concurrency") {
      bands.push_back(slice.value);
      CHECK(slice.rows == 1);
    }
  }
  CHECK(bands == std::vector<std::string>{"1-4", "5-16", "257-1024"});
}

TEST_CASE("the spread of an engine is the shortest interval that holds nine of ten, and 1") {
  std::vector<EvaluatedRow> some;
  for (int i = 0; i < 20; ++i) {
    // Ratios of 1.05, 1.10 ... 2.00; the last is far off.
    some.push_back(answered("r" + std::to_string(i), 4, 100, i == 19 ? 5000 : 105 + 5 * i));
  }
  const std::vector<EngineSpread> spreads = engine_spreads(some);
  REQUIRE(spreads.size() == 2);
  CHECK(spreads[0].engine == "all");
  CHECK(spreads[1].engine == some[0].row.engine);
  for (const EngineSpread& s : spreads) {
    CHECK(s.rows == 20);
    CHECK(s.spread.ttft.low == 1);
    CHECK(s.spread.ttft.high == Approx(1.9));
    CHECK(s.spread.step.high == Approx(1.9));
  }
  CHECK(to_markdown(spreads).find("| all | 20 | 1.00 to 1.90 | 1.00 to 1.90 |") !=
        std::string::npos);
}

TEST_CASE("the model alone states intervals that know what it was off by") {
  std::vector<EvaluatedRow> some{answered("a", 2, 100, 115), answered("b", 8, 100, 900)};
  const Accuracy accuracy = summarize(some, true);
  REQUIRE(accuracy.slices.front().property == "all");
  CHECK(accuracy.slices.front().tpot.coverage == Approx(0.5));
}

TEST_CASE("dense models on Hopper are a slice of their own") {
  std::vector<EvaluatedRow> some = rows();
  some[0].row.gpu = "h200";
  some[1].row.gpu = "h200";
  some[1].raw->experts = true;
  some[2].row.gpu = "b200";
  std::vector<std::string> kinds;
  for (const Slice& slice : summarize(some).slices) {
    if (slice.property == "models") {
      kinds.push_back(slice.value);
      CHECK(slice.rows == 1);
    }
  }
  CHECK(kinds ==
        std::vector<std::string>{"dense, elsewhere", "dense, on H100 and H200", "with experts"});
}

TEST_CASE("concurrency bands") {
  CHECK(concurrency_band(4) == "1-4");
  CHECK(concurrency_band(5) == "5-16");
  CHECK(concurrency_band(64) == "17-64");
  CHECK(concurrency_band(65) == "65-256");
  CHECK(concurrency_band(1024) == "257-1024");
  CHECK(concurrency_band(1025) == "1025 and more");
}

TEST_CASE("answers are one line a row answered") {
  CHECK(answers_csv(rows()) ==
        "id,ttft_ms,tpot_ms,ttft_low_ms,ttft_high_ms,tpot_low_ms,tpot_high_ms,provenance\n"
        "\"a,1\",110,110,88,132,88,132,interpolated\n"
        "b,150,150,120,180,120,180,interpolated\n"
        "c,60,60,48,72,48,72,interpolated\n");
}

TEST_CASE("features have as many fields as their header") {
  const MeasuredTable table = test::table(test::row("x", 1));
  EvaluatedRow row;
  row.row = table.rows.front();
  row.raw = PointPrediction{};
  const std::string text = features_csv({row});
  const auto header = text.substr(0, text.find('\n'));
  const auto line = text.substr(text.find('\n') + 1);
  CHECK(std::count(header.begin(), header.end(), ',') == std::count(line.begin(), line.end(), ','));
}

TEST_CASE("reports say what was not answered, and escape what they quote") {
  CHECK(refusals_text(rows()) == "not answered:     1 rows: unknown <model>\n");
  const std::vector<TitledAccuracy> results{{"a & b", summarize(rows())}};
  const std::string html = to_html(results, rows(), "<t>.csv");
  CHECK(html.find("&lt;t&gt;.csv") != std::string::npos);
  CHECK(html.find("<t>.csv") == std::string::npos);
  CHECK(html.find("a &amp; b") != std::string::npos);
  CHECK(html.find("<circle") != std::string::npos);
  CHECK(to_markdown(results, "dyn").find("| **all** | 3 | 33.3 | 40.0 | +10.0 | 33.3 |") !=
        std::string::npos);
  CHECK(to_json(results, "t.csv").find("\"mape\": 0.3333") != std::string::npos);
  CHECK(to_text(results.front().accuracy).find("257-1024") != std::string::npos);
}

}  // namespace
}  // namespace dyn::eval
