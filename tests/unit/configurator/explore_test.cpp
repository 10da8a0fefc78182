#include "dyn/configurator/explore.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <set>

#include "dyn/configurator/located.h"
#include "dyn/configurator/result.h"
#include "dyn/configurator/text.h"
#include "dyn/core/error.h"
#include "dyn/perf/model_spread.h"
#include "paths.h"
#include "problems.h"

namespace dyn::configurator {
namespace {

using test::load_of;
using test::small_recipe;

ExploreResult explored(const Recipe& recipe, int threads) {
  ExploreOptions options;
  options.threads = threads;
  return explore(recipe, "recipe.yaml", load_of(recipe), options);
}

TEST_CASE("the best topologies are ranked with figures, intervals and provenance") {
  const Recipe recipe = small_recipe();
  const ExploreResult result = explored(recipe, 2);
  REQUIRE(result.ranked.size() == 4);
  REQUIRE(result.winner_records.size() == 40);
  bool failing = false;
  for (const Candidate& candidate : result.ranked) {
    failing = failing || !candidate.meets_slo;
    REQUIRE(candidate.meets_slo == !failing);  // those that meet the SLOs come first
    REQUIRE(candidate.slo.size() == 2);
    REQUIRE(candidate.failed_requests == 0);
    for (const PlannedMetric& figure : candidate.plan.predicted) {
      INFO(figure.name);
      REQUIRE(figure.estimate.low <= figure.estimate.value);
      REQUIRE(figure.estimate.value <= figure.estimate.high);
    }
    const PlannedMetric* itl = find_figure(candidate.plan, "inter_token_latency.avg");
    REQUIRE(itl != nullptr);
    REQUIRE(itl->estimate.low < itl->estimate.value);
    REQUIRE(itl->estimate.value < itl->estimate.high);
    REQUIRE(candidate.report.find("inter_token_latency")->interval);
    // At least what published runs of the engine were from the model's say.
    const perf::ModelSpread spread = perf::model_spread({}, recipe.engine.kind);
    const PlannedMetric* ttft = find_figure(candidate.plan, "time_to_first_token.avg");
    REQUIRE(ttft != nullptr);
    REQUIRE(ttft->estimate.low <= ttft->estimate.value * spread.ttft.low);
    REQUIRE(ttft->estimate.high >= ttft->estimate.value * spread.ttft.high);
    REQUIRE(itl->estimate.high >= itl->estimate.value * (1 + (spread.step.high - 1) / 2));
  }
  REQUIRE(result.ranked.front().intervals == IntervalMethod::replayed);
  REQUIRE(result.ranked.back().intervals == IntervalMethod::first_order);
}

TEST_CASE("the result is the same to the byte on one and on three threads") {
  const Recipe recipe = small_recipe();
  ResultSource source;
  source.recipe_name = "recipe.yaml";
  const std::string one = to_json(explored(recipe, 1), recipe, source);
  REQUIRE(one == to_json(explored(recipe, 3), recipe, source));
  REQUIRE(one == to_json(explored(recipe, 1), recipe, source));
}

TEST_CASE("scheduler knobs that make no difference do not crowd out other topologies") {
  Recipe recipe = small_recipe();
  recipe.search.replay = 8;
  const ExploreResult result = explored(recipe, 2);
  std::set<std::string> layouts;
  for (const Candidate& candidate : result.ranked) {
    layouts.insert(layout_text(candidate.plan));
  }
  // One or two GPUs: 1 x tp1, 2 x tp1, 1 x tp2 and one worker of each kind.
  REQUIRE(layouts.size() == 4);
}

TEST_CASE("with few GPUs wanted the objective finds the fewest that meet the targets") {
  Recipe recipe = small_recipe();
  recipe.objective = Objective::gpus;
  const ExploreResult result = explored(recipe, 2);
  REQUIRE(result.ranked.front().meets_slo);
  REQUIRE(result.ranked.front().plan.gpus() == 1);
}

TEST_CASE("targets that nothing can meet rank by how near they come, and say so") {
  Recipe recipe = small_recipe();
  recipe.slo.itl_p99 = std::chrono::microseconds(10);
  const ExploreResult result = explored(recipe, 2);
  REQUIRE_FALSE(result.ranked.front().meets_slo);
  REQUIRE(result.ranked.front().slo[1].certain);
  REQUIRE_FALSE(result.notes.empty());
  const auto worst = [](const Candidate& c) { return c.slo[1].value.value; };
  REQUIRE(worst(result.ranked.front()) <= worst(result.ranked.back()));
}

TEST_CASE("a closed loop is explored too") {
  Recipe recipe = small_recipe();
  recipe.traffic.rate.reset();
  recipe.traffic.concurrency = 8;
  const ExploreResult result = explored(recipe, 2);
  REQUIRE(result.workload.concurrency == 8);
  REQUIRE(find_figure(result.ranked.front().plan, "output_token_throughput.avg")->estimate.value >
          0);
}

TEST_CASE("a model that cannot fit is infeasible and says what it needs") {
  Recipe recipe = small_recipe();
  recipe.model = "meta-llama/Llama-3.1-405B-Instruct";
  try {
    explored(recipe, 1);
    FAIL("it fitted");
  } catch (const Error& error) {
    REQUIRE(error.kind() == ErrorKind::infeasible);
    REQUIRE_THAT(error.what(), Catch::Contains("811.") && Catch::Contains("2 h100"));
  }
}

TEST_CASE("a cancelled search returns early with nothing ranked") {
  const Recipe recipe = small_recipe();
  const std::atomic<bool> cancelled{true};
  ExploreOptions options;
  options.cancelled = &cancelled;
  const ExploreResult result = explore(recipe, "recipe.yaml", load_of(recipe), options);
  REQUIRE(result.cancelled);
  REQUIRE(result.ranked.empty());
}

TEST_CASE("a context shorter than the longest request is refused before anything runs") {
  Recipe recipe = small_recipe();
  recipe.engine.max_model_len = 400;
  REQUIRE_THROWS_WITH(explored(recipe, 1), Catch::Contains("550 tokens"));
}

TEST_CASE("progress goes from 0 to 1 and never back") {
  const Recipe recipe = small_recipe();
  double last = 0;
  ExploreOptions options;
  options.threads = 2;
  options.progress = [&](double fraction, const std::string&) {
    REQUIRE(fraction >= last);
    REQUIRE(fraction <= 1);
    last = fraction;
  };
  explore(recipe, "recipe.yaml", load_of(recipe), options);
  REQUIRE(last == 1);
}

TEST_CASE("an error found late is placed in the recipe, unless the flag said otherwise") {
  const std::string path = std::string(DYN_BINARY_DIR) + "/located_test.yaml";
  std::ofstream(path) << "schema: dyn.recipe/1\nhardware:\n  gpu: h100\n  count: 2\n";
  const ErrorItem found = locate(path, "/hardware/count", "2");
  REQUIRE(found.where->line == 4);
  REQUIRE(found.where->column == 10);
  REQUIRE_THAT(found.excerpt, Catch::Contains("count: 2"));
  REQUIRE(locate(path, "/hardware/count", "3").where->line == 0);
  REQUIRE(locate(path, "/nowhere").where->line == 0);
  REQUIRE(locate(path + ".missing", "/model").where->line == 0);
}

TEST_CASE("the table names every candidate and the load") {
  const Recipe recipe = small_recipe();
  const ExploreResult result = explored(recipe, 2);
  const std::string table = to_table(result, recipe);
  for (const Candidate& candidate : result.ranked) {
    REQUIRE_THAT(table, Catch::Contains(layout_text(candidate.plan)));
  }
  REQUIRE_THAT(table, Catch::Contains("40 requests, 500 tokens in and 50 out"));
  for (std::size_t i = 0; i < table.size(); ++i) {
    REQUIRE_FALSE((table[i] == ' ' && table[i + 1] == '\n'));  // no trailing spaces
  }
}

}  // namespace
}  // namespace dyn::configurator
