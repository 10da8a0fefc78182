#include "dyn/eval/recorded.h"

#include <catch2/catch.hpp>

#include "dyn/core/error.h"
#include "paths.h"

namespace dyn::eval {
namespace {

std::string line(double sent, double ttft, double e2e) {
  return "{\"sent_ms\": " + std::to_string(sent) +
         ", \"isl\": 100, \"osl\": 11, \"ttft_ms\": " + std::to_string(ttft) +
         ", \"e2e_ms\": " + std::to_string(e2e) + "}\n";
}

TEST_CASE("a run by requests is read in order of sending") {
  const RecordedRun run =
      parse_recorded_run(line(5000, 50, 250) + "\n" + line(1000, 40, 140), "r.jsonl");
  REQUIRE(run.requests.size() == 2);
  CHECK(run.requests[0].sent == Duration{0});
  CHECK(run.requests[1].sent == std::chrono::seconds(4));
  CHECK(run.requests[0].itl_ms() == Approx(10));
  CHECK(run.mean_ttft_ms() == Approx(45));
  CHECK(run.mean_itl_ms() == Approx(15));
  CHECK(run.mean_e2e_ms() == Approx(195));
  CHECK(run.concurrency == 0);
}

TEST_CASE("a closed loop is seen from its sends") {
  std::string two;
  for (int i = 0; i < 10; ++i) {
    two += line(i * 100, 20, 99) + line(i * 100 + 50, 20, 99);
  }
  CHECK(parse_recorded_run(two, "r.jsonl").concurrency == 2);
  std::string open;
  for (int i = 0; i < 10; ++i) {
    open += line(i * 77, 20, 99);
  }
  CHECK(parse_recorded_run(open, "r.jsonl").concurrency == 0);
}

TEST_CASE("AIPerf's requests and means are read") {
  const RecordedRun run = parse_recorded_run(
      R"({"metadata":{"request_start_ns":7000000},"metrics":{"input_sequence_length":{"value":9,"unit":"tokens"},"output_sequence_length":{"value":3,"unit":"tokens"},"time_to_first_token":{"value":5.5,"unit":"ms"},"request_latency":{"value":9.5,"unit":"ms"}},"error":null}
{"metadata":{"request_start_ns":8000000},"metrics":{},"error":{"message":"refused"}}
)",
      "p.jsonl");
  REQUIRE(run.requests.size() == 1);
  CHECK(run.requests[0].isl == 9);
  CHECK(run.requests[0].itl_ms() == Approx(2));
  const RecordedRun means = parse_recorded_run(
      R"({"input_config": {"loadgen": {"concurrency": 3}},
          "input_sequence_length": {"unit": "tokens", "avg": 100, "std": 0},
          "output_sequence_length": {"unit": "tokens", "avg": 20, "std": 0},
          "time_to_first_token": {"unit": "ms", "avg": 30},
          "request_latency": {"unit": "ms", "avg": 220},
          "request_count": {"unit": "requests", "avg": 12}})",
      "a.json");
  CHECK(means.means_only);
  CHECK(means.concurrency == 3);
  CHECK(means.requests.size() == 12);
  CHECK(means.mean_itl_ms() == Approx(10));
}

TEST_CASE("what is no run is refused with its place") {
  const auto errors_of = [](const std::string& text, const std::string& name) {
    try {
      parse_recorded_run(text, name);
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::bad_input);
      return error.items();
    }
    return std::vector<ErrorItem>{};
  };
  const auto errors = errors_of(
      line(0, 10, 20) + "{\"sent_ms\": 0, \"isl\": 0, \"osl\": 1.5, \"ttft_ms\": 1}\n[1]\n{",
      "r.jsonl");
  REQUIRE(errors.size() >= 4);
  CHECK(errors[0].where->file == "r.jsonl");
  CHECK(errors[0].where->line == 2);
  CHECK(errors[0].where->column == 23);
  CHECK(errors.back().where->line == 4);
  CHECK(errors_of(line(0, 20, 10), "r.jsonl").size() == 1);
  CHECK(errors_of("", "r.jsonl").size() == 1);
  CHECK_FALSE(errors_of("{}", "a.json").empty());
  CHECK_THROWS_AS(load_recorded_run("/nowhere/r.jsonl"), Error);
}

TEST_CASE("the recorded loads of a real engine are recognised") {
  if (!dyn::test::have_reference_data()) {
    WARN("skipped: no reference data");
    return;
  }
  const auto load = [](const char* name) {
    return load_recorded_run(dyn::test::reference_data(std::string("real_cpu/") + name).string());
  };
  CHECK(load("closed1.jsonl").concurrency == 1);
  CHECK(load("closed8.jsonl").concurrency == 8);
  CHECK(load("poisson1.jsonl").concurrency == 0);
  CHECK(load("closed8.jsonl").mean_ttft_ms() == Approx(134.2).epsilon(0.001));
}

}  // namespace
}  // namespace dyn::eval
