#include "workload_stats.h"

#include <catch2/catch.hpp>

#include "paths.h"
#include "problems.h"

namespace dyn::configurator {
namespace {

TEST_CASE("the load's figures are those of its requests") {
  Recipe recipe = test::small_recipe();
  recipe.traffic.shared_prefix = Tokens(0);
  const WorkloadStats stats = workload_stats(test::load_of(recipe));
  REQUIRE(stats.summary.requests == 40);
  REQUIRE(stats.summary.mean_input == Approx(500));
  REQUIRE(stats.summary.mean_output == Approx(50));
  REQUIRE(stats.summary.longest == 550);
  REQUIRE(stats.summary.reuse == 0);
  REQUIRE(stats.input_scv == Approx(0).margin(1e-9));
  REQUIRE(stats.summary.request_rate == Approx(4).epsilon(0.6));
}

TEST_CASE("a prefix that all prompts share is reusable by all but the first") {
  Recipe recipe = test::small_recipe();
  recipe.traffic.isl = Tokens(2048);
  recipe.traffic.shared_prefix = Tokens(1024);
  const WorkloadStats stats = workload_stats(test::load_of(recipe));
  REQUIRE(stats.summary.reuse == Approx(39.0 / 40 / 2).epsilon(0.05));
}

TEST_CASE("a closed loop has no rate") {
  Recipe recipe = test::small_recipe();
  recipe.traffic.rate.reset();
  recipe.traffic.concurrency = 8;
  const WorkloadStats stats = workload_stats(test::load_of(recipe));
  REQUIRE(stats.summary.request_rate == 0);
  REQUIRE(stats.summary.concurrency == 8);
  REQUIRE(stats.peak_factor == 1);
}

TEST_CASE("the reuse of Mooncake's conversation trace is the published one") {
  if (!dyn::test::have_reference_data()) {
    WARN("skipped: no reference data");
    return;
  }
  const auto path = dyn::test::reference_data("traces/conversation_trace.jsonl");
  const WorkloadStats stats = workload_stats(sim::load_trace(path.string(), Traffic{}, 1));
  REQUIRE(stats.summary.requests == 12031);
  REQUIRE(stats.summary.reuse == Approx(0.374).margin(0.005));
  REQUIRE(stats.peak_factor > 1);
}

}  // namespace
}  // namespace dyn::configurator
