#include "dyn/configurator/result.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "dyn/configurator/text.h"
#include "dyn/core/error.h"
#include "problems.h"

namespace dyn::configurator {
namespace {

using test::load_of;
using test::small_recipe;

std::string write(const std::string& name, const std::string& text) {
  const std::string path = std::string(DYN_BINARY_DIR) + "/" + name;
  std::ofstream(path) << text;
  return path;
}

const ExploreResult& small_result() {
  static const ExploreResult result = [] {
    Recipe recipe = small_recipe();
    recipe.search.replay = 2;
    ExploreOptions options;
    options.threads = 2;
    return explore(recipe, "recipe.yaml", load_of(recipe), options);
  }();
  return result;
}

StoredResult stored(const ExploreResult& result, const std::string& name) {
  ResultSource source;
  source.recipe_name = "recipe.yaml";
  source.recipe_text = "schema: dyn.recipe/1";
  return load_result(write(name, to_json(result, small_recipe(), source)));
}

void set_figure(Plan& plan, const std::string& name, double value) {
  for (PlannedMetric& figure : plan.predicted) {
    if (figure.name == name) {
      figure.estimate = {value, value, value, Provenance::measured};
    }
  }
}

TEST_CASE("a result reads back with its plans and their figures") {
  const StoredResult result = stored(small_result(), "result_roundtrip.json");
  REQUIRE(result.plans.size() == 2);
  REQUIRE(result.objective == "throughput_per_gpu");
  for (std::size_t i = 0; i < 2; ++i) {
    const Plan& plan = small_result().ranked[i].plan;
    REQUIRE(to_json(result.plans[i]) == to_json(plan));
    REQUIRE(result.meets_slo[i] == small_result().ranked[i].meets_slo);
  }
}

TEST_CASE("a result is not worse than itself, at no tolerance at all") {
  const StoredResult baseline = stored(small_result(), "result_same.json");
  const auto changes = compare(baseline, small_result(), 0);
  REQUIRE(changes.size() == 4);  // two targets, throughput per GPU, goodput
  for (const FigureChange& change : changes) {
    INFO(change.name);
    REQUIRE_FALSE(change.worse);
    REQUIRE(change.change == Approx(0).margin(1e-12));
  }
}

TEST_CASE("more latency or less throughput beyond the tolerance is worse, the contrary is not") {
  const StoredResult baseline = stored(small_result(), "result_worse.json");
  ExploreResult now = small_result();
  Plan& plan = now.ranked.front().plan;
  const auto before = [&](const std::string& name) {
    return find_figure(small_result().ranked.front().plan, name)->estimate.value;
  };
  const auto worse = [&](double tolerance) {
    std::vector<std::string> names;
    for (const FigureChange& change : compare(baseline, now, tolerance)) {
      if (change.worse) {
        names.push_back(change.name);
      }
    }
    return names;
  };
  set_figure(plan, "time_to_first_token.p99", before("time_to_first_token.p99") * 1.04);
  REQUIRE(worse(0.05).empty());
  REQUIRE(worse(0.03) == std::vector<std::string>{"time_to_first_token.p99"});
  set_figure(plan, "time_to_first_token.p99", before("time_to_first_token.p99") * 0.5);
  const char* throughput = "output_token_throughput_per_gpu.avg";
  set_figure(plan, throughput, before(throughput) * 0.9);
  REQUIRE(worse(0.05) == std::vector<std::string>{throughput});
  set_figure(plan, throughput, before(throughput) * 1.5);
  REQUIRE(worse(0).empty());
  now.ranked.front().meets_slo = false;
  REQUIRE(worse(1) == std::vector<std::string>{"slo_met"});
}

TEST_CASE("a figure that was 0 has changed without bound, which JSON says as null") {
  const std::vector<FigureChange> changes{{"goodput.avg", "requests/sec", 0, 2, INFINITY, false}};
  const auto json = nlohmann::json::parse(to_json(changes, 0.05, "old.json"));
  REQUIRE(json["figures"][0]["change"].is_null());
  REQUIRE(json["worse"] == false);
}

TEST_CASE("files that are no results are refused with the place") {
  REQUIRE_THROWS_WITH(load_result("/nowhere/result.json"), Catch::Contains("cannot read the file"));
  REQUIRE_THROWS_WITH(load_result(write("cut.json", "{\n \"schema\": \"dyn.res")),
                      Catch::Contains("cut.json:2:"));
  REQUIRE_THROWS_WITH(load_result(write("plan.json", R"({"schema": "dyn.plan/1"})")),
                      Catch::Contains("expected \"dyn.result/1\", got \"dyn.plan/1\""));
  REQUIRE_THROWS_WITH(load_result(write("list.json", "[]")), Catch::Contains("dyn.result/1"));
  REQUIRE_THROWS_WITH(load_result(write("bare.json", R"({"schema": "dyn.result/1"})")),
                      Catch::Contains("incomplete"));
}

TEST_CASE("the digest depends on the recipe, the flags, the seed and the files") {
  ResultSource source;
  source.recipe_text = "a";
  const std::string first = input_sha256(source, 1);
  REQUIRE(first.size() == 64);
  REQUIRE(first == input_sha256(source, 1));
  REQUIRE(first != input_sha256(source, 2));
  ResultSource other = source;
  other.overrides = {"seed=3"};
  REQUIRE(first != input_sha256(other, 1));
  other = source;
  other.files = {write("digest.txt", "x")};
  const std::string with_file = input_sha256(other, 1);
  REQUIRE(first != with_file);
  write("digest.txt", "y");
  REQUIRE(with_file != input_sha256(other, 1));
}

TEST_CASE("the per-request export has one JSON object a request") {
  const std::string text = to_request_export(small_result().winner_records);
  std::istringstream lines(text);
  std::string line;
  int count = 0;
  while (std::getline(lines, line)) {
    const auto json = nlohmann::json::parse(line);
    const double ttft = json["metrics"]["time_to_first_token"]["value"];
    const double latency = json["metrics"]["request_latency"]["value"];
    REQUIRE(ttft > 0);
    REQUIRE(latency > ttft);
    REQUIRE(json["error"].is_null());
    ++count;
  }
  REQUIRE(count == 40);
}

}  // namespace
}  // namespace dyn::configurator
