#include "score.h"

#include <rapidcheck.h>

#include <catch2/catch.hpp>

#include "dyn/sim/simulation.h"
#include "problems.h"

namespace dyn::configurator {
namespace {

using test::large_recipe;
using test::load_of;
using test::problem_of;

TEST_CASE("a shifted exponential gives back its mean and its 99th percentile") {
  REQUIRE(quantile(2.0, 9.0, "avg") == 2.0);
  REQUIRE(quantile(2.0, 9.0, "p99") == 9.0);
  const double p50 = quantile(2.0, 9.0, "p50");
  const double p90 = quantile(2.0, 9.0, "p90");
  const double p95 = quantile(2.0, 9.0, "p95");
  REQUIRE(p50 < 2.0);
  REQUIRE(p50 < p90);
  REQUIRE(p90 < p95);
  REQUIRE(p95 < 9.0);
}

TEST_CASE("more workers of the same kind are never more loaded nor slower") {
  Recipe recipe = large_recipe();
  recipe.traffic.requests = 60;
  const sim::Workload load = load_of(recipe);
  const Problem problem = problem_of(recipe, load);
  const Space space = enumerate(problem);
  Scorer scorer(problem, space);
  for (std::uint32_t shape = 0; shape < space.shapes.size(); shape += 3) {
    if (!space.shapes[shape].rejected.empty()) {
      continue;
    }
    for (int replicas = 1; replicas < 8; ++replicas) {
      const PoolEstimate few = scorer.pool(shape, replicas);
      const PoolEstimate more = scorer.pool(shape, replicas + 1);
      REQUIRE(more.capacity > few.capacity);
      REQUIRE(more.utilisation < few.utilisation);
      REQUIRE(more.itl_mean <= few.itl_mean * 1.02);
      REQUIRE(few.ttft_p99 >= few.ttft_mean);
    }
  }
}

TEST_CASE("the score of a moderately loaded topology is near what the simulator says") {
  Recipe recipe = large_recipe();
  const sim::Workload load = load_of(recipe);
  const Problem problem = problem_of(recipe, load);
  const Space space = enumerate(problem);
  Scorer scorer(problem, space);
  int compared = 0;
  for (const Topology& topology : space.topologies) {
    const bool plain = !topology.disaggregated() && space.gpus(topology) == 8 &&
                       space.shapes[topology.first].config.max_num_seqs == 256 &&
                       space.shapes[topology.first].config.max_num_batched_tokens == 8192;
    if (!plain) {
      continue;
    }
    const AnalyticScore score = scorer.score(topology);
    if (score.utilisation > 0.6) {
      continue;
    }
    const Plan plan = make_plan(problem, space, topology);
    sim::SimulationSpec spec;
    spec.plan = &plan;
    spec.timers = {space.layouts[space.shapes[topology.first].layout].model};
    const Report report = sim::simulate(spec, load).report;
    const double itl = report.find("inter_token_latency")->avg / 1e3;
    const double ttft = report.find("time_to_first_token")->avg / 1e3;
    INFO(layout_text(plan));
    REQUIRE(score.itl_mean == Approx(itl).epsilon(0.25));
    REQUIRE(score.ttft_mean == Approx(ttft).epsilon(0.6));
    ++compared;
  }
  REQUIRE(compared > 0);
}

}  // namespace
}  // namespace dyn::configurator
