#include "space.h"

#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <set>
#include <tuple>

#include "problems.h"

namespace dyn::configurator {
namespace {

using test::large_recipe;
using test::load_of;
using test::problem_of;
using test::small_recipe;

std::int64_t rejected_of(const Space& space) {
  std::int64_t sum = 0;
  for (const Rejection& rejection : space.rejected) {
    sum += rejection.count;
  }
  return sum;
}

TEST_CASE("a fleet of 32 GPUs has thousands of topologies in both modes") {
  const Recipe recipe = large_recipe();
  const sim::Workload load = load_of(recipe);
  const Space space = enumerate(problem_of(recipe, load));
  REQUIRE(space.explored >= 1000);
  REQUIRE(static_cast<std::int64_t>(space.topologies.size()) + rejected_of(space) ==
          space.explored);
  std::int64_t apart = 0;
  for (const Topology& topology : space.topologies) {
    apart += topology.disaggregated() ? 1 : 0;
  }
  REQUIRE(apart > 100);
  REQUIRE(static_cast<std::int64_t>(space.topologies.size()) - apart > 100);
}

TEST_CASE("every topology is within the GPU range, divides the model and occurs once") {
  REQUIRE(rc::check([] {
    Recipe recipe = large_recipe();
    recipe.model = *rc::gen::element<std::string>("Qwen/Qwen3-32B", "mistralai/Mixtral-8x7B-v0.1",
                                                  "Qwen/Qwen3-14B");
    recipe.weights.reset();
    recipe.traffic.requests = 4;
    recipe.hardware.count.high = *rc::gen::inRange(1, 25);
    recipe.hardware.count.low = *rc::gen::inRange(1, recipe.hardware.count.high + 1);
    const sim::Workload load = load_of(recipe);
    const Problem problem = problem_of(recipe, load);
    const Space space = enumerate(problem);
    std::set<std::tuple<std::uint32_t, std::uint32_t, int, int>> seen;
    for (const Topology& t : space.topologies) {
      RC_ASSERT(space.gpus(t) >= recipe.hardware.count.low);
      RC_ASSERT(space.gpus(t) <= recipe.hardware.count.high);
      RC_ASSERT(seen.emplace(t.first, t.second, t.first_replicas, t.second_replicas).second);
      const Shape& shape = space.shapes[t.first];
      RC_ASSERT(shape.rejected.empty());
      RC_ASSERT(problem.model.attention.heads % space.layout(shape).tensor == 0);
      RC_ASSERT(shape.kv_tokens() >= problem.stats.summary.longest);
      RC_ASSERT(*shape.config.max_model_len <= shape.kv_tokens());
    }
    RC_ASSERT(static_cast<std::int64_t>(space.topologies.size()) + rejected_of(space) ==
              space.explored);
  }));
}

TEST_CASE("a plan holds exactly the topology it is made of") {
  const Recipe recipe = large_recipe();
  const sim::Workload load = load_of(recipe);
  const Problem problem = problem_of(recipe, load);
  const Space space = enumerate(problem);
  for (const Topology& topology : space.topologies) {
    if (topology.disaggregated()) {
      const Plan plan = make_plan(problem, space, topology);
      REQUIRE(plan.gpus() == space.gpus(topology));
      REQUIRE(plan.pools.size() == 2);
      REQUIRE(plan.pools[0].role == WorkerRole::prefill);
      REQUIRE(plan.pools[1].role == WorkerRole::decode);
      REQUIRE(plan.transfer.bandwidth.count() == 0);  // the network's links
      // Qwen3-32B: 64 layers x 2 x 8 KV heads x 128, bf16.
      REQUIRE(plan.transfer.bytes_per_token == Bytes(64 * 2 * 8 * 128 * 2));
      return;
    }
  }
  FAIL("no disaggregated topology");
}

TEST_CASE("a model that fits nowhere is told what it would need") {
  Recipe recipe = small_recipe();
  recipe.model = "meta-llama/Llama-3.1-405B-Instruct";
  recipe.hardware.gpu = "l40s";
  recipe.hardware.count = {1, 8};
  const sim::Workload load = load_of(recipe);
  const Problem problem = problem_of(recipe, load);
  const Space space = enumerate(problem);
  REQUIRE(space.topologies.empty());
  REQUIRE(rejected_of(space) == space.explored);
  const std::string text = what_would_fit(problem);
  // 405.9 billion parameters in bf16.
  REQUIRE_THAT(text, Catch::Contains("811.") && Catch::Contains("the smallest worker that fits"));
}

TEST_CASE("search lists restrict what is explored") {
  Recipe recipe = large_recipe();
  recipe.search.disaggregated = false;
  recipe.search.tensor = {2};
  recipe.search.max_num_seqs = {64};
  recipe.search.max_num_batched_tokens = {4096, 8192};
  recipe.hardware.count = {1, 8};
  const sim::Workload load = load_of(recipe);
  const Space space = enumerate(problem_of(recipe, load));
  REQUIRE(space.explored == 4 * 2);  // one to four workers, two token budgets
  for (const Topology& topology : space.topologies) {
    REQUIRE(space.layout(space.shapes[topology.first]).tensor == 2);
  }
}

TEST_CASE("a mixture of experts is also spread by expert and data parallelism") {
  Recipe recipe = large_recipe();
  recipe.model = "Qwen/Qwen3-30B-A3B";
  recipe.weights.reset();
  recipe.hardware.count = {1, 8};
  const sim::Workload load = load_of(recipe);
  const Space space = enumerate(problem_of(recipe, load));
  std::set<ParallelLayout> layouts;
  for (const Topology& topology : space.topologies) {
    layouts.insert(space.layout(space.shapes[topology.first]));
  }
  REQUIRE(layouts.contains({4, 1, 1, 4}));
  REQUIRE(layouts.contains({1, 1, 8, 8}));
  REQUIRE(layouts.contains({2, 1, 4, 8}));
}

}  // namespace
}  // namespace dyn::configurator
