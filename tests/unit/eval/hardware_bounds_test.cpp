#include "hardware_bounds.h"

#include <catch2/catch.hpp>

#include "dyn/core/catalogue.h"
#include "dyn/eval/point.h"
#include "dyn/perf/builtin_profiles.h"
#include "paths.h"
#include "serving.h"
#include "tables.h"

namespace dyn::eval {
namespace {

template <class Run>
std::vector<ErrorItem> errors_of(Run run) {
  try {
    run();
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::bad_input);
    return error.items();
  }
  return {};
}

std::vector<ErrorItem> errors_of(const MeasuredTable& table) {
  return errors_of([&] { PointPredictor(perf::builtin_profile).check_times(table); });
}

MeasuredTable in_seconds(MeasuredTable table) {
  for (MeasuredRow& row : table.rows) {
    for (std::optional<double>* time : {&row.ttft_ms, &row.tpot_ms}) {
      if (*time) {
        **time *= 1e-3;
      }
    }
  }
  return table;
}

Deployment llama() {
  Deployment out;
  out.profile = perf::builtin_profile("h100");
  out.model = find_model("meta-llama/Llama-3.1-8B");
  out.config.prefix_caching = false;
  return out;
}

TEST_CASE("a token reads the weights once and a prompt multiplies them by each of its tokens") {
  // 8.03e9 parameters, of which 0.53e9 each are embeddings and lm_head.
  const ModelSpec model = find_model("meta-llama/Llama-3.1-8B");
  const GpuSpec& gpu = find_gpu("h100");
  const LeastTimes one = least_times(model, {Precision::bf16}, gpu, 1, 1000);
  CHECK(one.tpot == Approx(7.5e9 * 2 / 3.35e12 * 1e3 / 8).epsilon(0.01));
  CHECK(one.ttft == Approx(2 * 6.98e9 * 1000 / 989.4e12 * 1e3 / 16).epsilon(0.01));
  const LeastTimes eight = least_times(model, {Precision::fp8, Precision::bf16}, gpu, 8, 1000);
  CHECK(eight.tpot < one.tpot / 15);
  CHECK(eight.ttft == Approx(one.ttft / 16).epsilon(1e-3));
}

TEST_CASE("times that the GPUs cannot have are refused with their rows") {
  CHECK(errors_of(test::table(test::row("a", 1, "20", "7") + test::row("b", 8, "", ""))).empty());
  const std::vector<ErrorItem> one =
      errors_of(test::table(test::row("a", 4) + test::row("b", 4, "50", "0.0001")));
  REQUIRE(one.size() == 1);
  CHECK(one[0].where->file == "t.csv");
  CHECK(one[0].where->line == 3);
  CHECK(one[0].message ==
        "row b: TPOT of 0.0001 ms, but 1 x NVIDIA H100 SXM cannot read the weights of a token in "
        "less than 4.48 ms");
  CHECK(one[0].hint.find("seconds") != std::string::npos);
  CHECK(errors_of(in_seconds(test::table(test::row("a", 4) + test::row("b", 64)))).size() == 4);
}

TEST_CASE("rows of unknown models are left to their answers") {
  MeasuredTable table = test::table(test::row("a", 4, "0.001", "0.0001"));
  table.rows[0].model = "nobody/nothing";
  CHECK(errors_of(table).empty());
}

TEST_CASE("runs in seconds are refused by calibration, with the first such request") {
  const MeasuredTable rows =
      in_seconds(test::table(test::row("a", 1) + test::row("b", 8) + test::row("c", 32)));
  CHECK(errors_of([&] { (void)runs_of(rows); }).size() == 6);
  std::string lines;
  for (int i = 0; i < 20; ++i) {
    lines += "{\"sent_ms\": " + std::to_string(i) +
             ", \"isl\": 1000, \"osl\": 50, \"ttft_ms\": 0.05, \"e2e_ms\": 0.5}\n";
  }
  const RecordedRun run = parse_recorded_run("\n" + lines, "r.jsonl");
  const std::vector<ErrorItem> errors =
      errors_of([&] { (void)calibrate(llama(), {run}, {Constant::frontend}, {}); });
  REQUIRE(errors.size() == 2);
  CHECK(errors[0].message.starts_with("a mean TTFT of 0.05 ms"));
  CHECK(errors[0].where->file == "r.jsonl");
  CHECK(errors[0].where->line == 2);
  CHECK(errors[1].message.starts_with("a mean TPOT of 0.009"));
}

TEST_CASE("a request that found its prompt cached or got all tokens at once is no error") {
  RecordedRun run;
  run.name = "r.jsonl";
  for (int i = 0; i < 10; ++i) {
    const bool cached = i == 3;
    run.requests.push_back({Duration{0}, 4000, 50, cached ? 1.0 : 120, cached ? 1.01 : 600});
  }
  CHECK(too_fast(run, llama()).empty());
}

TEST_CASE("all measured rows of the reference table could be, and few in seconds") {
  if (!dyn::test::have_reference_data()) {
    WARN("skipped: no reference data");
    return;
  }
  const MeasuredTable table =
      load_measured(dyn::test::reference_data("silicon/train.csv").string());
  CHECK(errors_of(table).empty());
  const MeasuredTable seconds = in_seconds(table);
  double impossible = 0;
  for (const MeasuredRow& row : seconds.rows) {
    const GpuSpec& gpu = find_gpu(row.gpu);
    impossible += too_fast(row, measured_model(row.model), gpu, "t.csv").empty() ? 0 : 1;
  }
  CHECK(impossible > 0.8 * static_cast<double>(table.rows.size()));
}

}  // namespace
}  // namespace dyn::eval
