#include "deployment.h"

#include <catch2/catch.hpp>
#include <cstdlib>

#include "dyn/configurator/explore.h"
#include "dyn/configurator/result.h"
#include "dyn/configurator/text.h"
#include "dyn/core/document.h"
#include "dyn/core/error.h"
#include "dyn/core/recipe.h"
#include "problems.h"

namespace dyn::configurator {
namespace {

Recipe recipe_of(const std::string& rest) {
  return parse_recipe(
      Document::parse("schema: dyn.recipe/1\nmodel: Qwen/Qwen3-8B\n"
                      "traffic: {isl: 500, osl: 20, rate: 4/s, requests: 50}\n" +
                          rest,
                      "r.yaml"));
}

ExploreResult explored(const Recipe& recipe) {
  ExploreOptions options;
  options.threads = 2;
  return explore(recipe, "recipe.yaml", test::load_of(recipe), options);
}

constexpr const char* kGiven =
    "timing: {kind: polynomial}\nengine: {kv_blocks: 300}\n"
    "deployment: {pools: [{replicas: 3, engine: {max_num_seqs: 7}}]}\n";

TEST_CASE("a fixed fleet is simulated as it is, without a profile where step times are given") {
  const Recipe recipe = recipe_of(kGiven);
  const ExploreResult result = explored(recipe);
  REQUIRE(result.ranked.size() == 1);
  const Plan& plan = result.ranked.front().plan;
  REQUIRE(plan.pools.size() == 1);
  CHECK(plan.pools[0].replicas == 3);
  CHECK(plan.pools[0].config.max_num_seqs == 7);
  CHECK(plan.pools[0].config.kv_blocks == 300);
  CHECK(plan.profile.name.empty());
  CHECK(result.winner_records.size() == 50);
  const PlannedMetric* ttft = find_figure(plan, "time_to_first_token.avg");
  REQUIRE(ttft != nullptr);
  CHECK(ttft->estimate.low == ttft->estimate.high);
  CHECK(to_table(result, recipe).find("3 x tp1") != std::string::npos);
}

TEST_CASE("the plan of a fixed fleet is read back with its step times") {
  const Plan plan = explored(recipe_of(kGiven)).ranked.front().plan;
  const Plan again = parse_plan(Document::parse(to_json(plan), "plan.json"));
  CHECK(again.pools[0].timing == plan.pools[0].timing);
  CHECK(again.pools[0].timing.kind == TimingKind::polynomial);
  CHECK(to_json(again) == to_json(plan));
}

TEST_CASE("pools may run on different GPUs, each with its own memory and step times") {
  const ExploreResult result = explored(recipe_of(
      "hardware: {gpu: h100}\n"
      "deployment: {pools: [{role: decode, gpu: h200, replicas: 2}, {role: prefill}]}\n"));
  const Plan& plan = result.ranked.front().plan;
  REQUIRE(plan.pools.size() == 2);
  CHECK(plan.pools[0].role == WorkerRole::prefill);
  CHECK_FALSE(plan.pools[0].profile);
  REQUIRE(plan.pools[1].profile);
  CHECK(plan.pools[1].profile->device.id == "h200");
  CHECK(*plan.pools[1].config.kv_blocks > *plan.pools[0].config.kv_blocks);
  const PlannedMetric* itl = find_figure(plan, "inter_token_latency.avg");
  REQUIRE(itl != nullptr);
  CHECK(itl->estimate.low < itl->estimate.value);
  CHECK(itl->estimate.value < itl->estimate.high);
}

ExploreResult closed_loop(int requests, int threads, const std::string& rest = "") {
  const Recipe recipe = parse_recipe(
      Document::parse("schema: dyn.recipe/1\nmodel: Qwen/Qwen3-8B\nhardware: {gpu: h100}\n"
                      "traffic: {isl: 300, osl: 12, lengths: uniform, length_spread: 0.3, "
                      "concurrency: 16, requests: " +
                          std::to_string(requests) +
                          "}\n"
                          "deployment: {pools: [{replicas: 2}]}\n" +
                          rest,
                      "r.yaml"));
  ExploreOptions options;
  options.threads = threads;
  return explore(recipe, "recipe.yaml", test::load_of(recipe), options);
}

TEST_CASE("the error bars of a long closed loop's start are those of the whole") {
  const ExploreResult start = closed_loop(20'000, 2);
  const ExploreResult whole = closed_loop(19'999, 2);
  REQUIRE(start.ranked.front().intervals == IntervalMethod::replayed_start);
  REQUIRE(whole.ranked.front().intervals == IntervalMethod::replayed);
  CHECK(start.winner_records.size() == 20'000);
  CHECK(to_json(closed_loop(20'000, 1).ranked.front().plan) == to_json(start.ranked.front().plan));
  for (const PlannedMetric& figure : whole.ranked.front().plan.predicted) {
    INFO(figure.name);
    const PlannedMetric* other = find_figure(start.ranked.front().plan, figure.name);
    REQUIRE(other != nullptr);
    CHECK(other->estimate.value == Approx(figure.estimate.value).epsilon(0.01));
    CHECK(other->estimate.low == Approx(figure.estimate.low).epsilon(0.02));
    CHECK(other->estimate.high == Approx(figure.estimate.high).epsilon(0.02));
    CHECK(other->estimate.provenance == figure.estimate.provenance);
  }
}

TEST_CASE("the error bars of a fleet that changes are those of the whole load") {
  const auto method = [](const std::string& rest) {
    return closed_loop(20'000, 2, rest).ranked.front().intervals;
  };
  CHECK(method("autoscaler: {kind: load, max_replicas: 3}\n") == IntervalMethod::replayed);
  CHECK(method("faults: {schedule: [{kind: worker_crash, at: 10s, worker: 0}]}\n") ==
        IntervalMethod::replayed);
}

TEST_CASE("with tiers below the device sliding layers keep the whole context") {
  const auto pool = [](const std::string& rest) {
    const Recipe recipe = parse_recipe(
        Document::parse("schema: dyn.recipe/1\nmodel: openai/gpt-oss-20b\nhardware: {gpu: h100}\n"
                        "traffic: {isl: 500, osl: 20, rate: 4/s, requests: 20}\n"
                        "deployment: {pools: [{}]}\n" +
                            rest,
                        "r.yaml"));
    return explored(recipe).ranked.front().plan.pools.front();
  };
  const PoolSpec without = pool("");
  const PoolSpec with = pool("kv_tiers: {host: {capacity: 10 GiB}}\n");
  CHECK_FALSE(without.config.hybrid_kv_cache);
  CHECK(with.config.hybrid_kv_cache == false);
  // A page then has twice the layers.
  CHECK(std::abs(*without.config.kv_blocks - 2 * *with.config.kv_blocks) <= 1);
}

TEST_CASE("a plan says how much SGLang's pools hold, and which of them bounds what runs") {
  const auto plan = [](const std::string& model, const std::string& engine) {
    const Recipe recipe = parse_recipe(
        Document::parse("schema: dyn.recipe/1\nmodel: " + model +
                            "\nhardware: {gpu: h200}\nengine: {kind: sglang, " + engine +
                            "}\ntraffic: {isl: 500, osl: 20, rate: 4/s, requests: 20}\n"
                            "deployment: {pools: [{layout: {tensor: 8}}]}\n",
                        "r.yaml"));
    return explored(recipe).ranked.front().plan;
  };
  const auto says = [](const Plan& of, const std::string& text) {
    return summary(of).find(text) != std::string::npos;
  };
  const Plan windows =
      plan("openai/gpt-oss-120b", "kv_blocks: 4000, sglang: {swa_full_tokens_ratio: 0.01}");
  CHECK(says(windows,
             " 40 window blocks; 1 request of 131072 tokens runs at once, bounded by "
             "the KV blocks\n"));
  const Plan narrow = plan("openai/gpt-oss-120b",
                           "kv_blocks: 4000, max_model_len: 2000, sglang: "
                           "{swa_full_tokens_ratio: 0.01}");
  CHECK(says(narrow,
             " 40 window blocks; 13 requests of 2000 tokens run at once, bounded by the "
             "window blocks\n"));
  const Plan states =
      plan("Qwen/Qwen3.5-397B-A17B", "max_model_len: 2000, sglang: {max_mamba_cache_size: 36}");
  CHECK(says(states,
             " states of 12 sequences; 12 requests of 2000 tokens run at once, bounded by "
             "the states\n"));
  const Plan all = plan("Qwen/Qwen3.5-397B-A17B", "max_model_len: 2000, max_num_seqs: 4");
  CHECK(all.pools[0].config.sglang.max_mamba_cache_size > 100);
  CHECK(says(all, "bounded by max_num_seqs\n"));
  CHECK_FALSE(says(plan("Qwen/Qwen3-32B", "max_num_seqs: 4"), "bounded by"));
}

TEST_CASE("a result says which kind of layers bounds what runs, as text and as figures") {
  const auto result = [](const std::string& model, const std::string& engine) {
    const Recipe recipe = parse_recipe(Document::parse(
        "schema: dyn.recipe/1\nmodel: " + model + "\nhardware: {gpu: h100}\nengine: {" + engine +
            "}\ntraffic: {isl: 500, osl: 20, rate: 4/s, requests: 20}\n"
            "deployment: {pools: [{layout: {tensor: 8}}]}\n",
        "r.yaml"));
    const ExploreResult explored_one = explored(recipe);
    return std::pair(to_table(explored_one, recipe), to_json(explored_one, recipe, {}));
  };
  using Catch::Matchers::Contains;
  // Of 24 layers half slide: a group each, whose windows are of 3 blocks of 64.
  const auto [table, json] =
      result("openai/gpt-oss-20b", "kv_blocks: 1000, block_size: 64, max_model_len: 6400");
  CHECK_THAT(table, Contains("cache of aggregated engines: 100 blocks of full attention, 3 blocks "
                             "of windows a request; 9 requests of 6400 tokens run at once, bounded "
                             "by full attention\n"));
  CHECK_THAT(json, Contains("\"cache_bounds\""));
  CHECK_THAT(json, Contains("\"bound_by\": \"full_attention\""));
  CHECK_THAT(json, Contains("\"requests_at_once\": 9"));
  const auto [states, unused] = result("Qwen/Qwen3-Next-80B-A3B-Instruct",
                                       "kv_blocks: 2000, max_model_len: 600, max_num_seqs: 250");
  CHECK_THAT(states, Contains("blocks of states a request"));
  CHECK_THAT(states, Contains("bounded by the states\n"));
  const auto [plain, none] = result("Qwen/Qwen3-32B", "kv_blocks: 1000");
  CHECK_THAT(plain, !Contains("bounded by"));
  CHECK_THAT(none, !Contains("cache_bounds"));
}

TEST_CASE("a fixed fleet that cannot run says which pool") {
  const Recipe recipe = recipe_of(
      "hardware: {gpu: l40s}\n"
      "deployment: {pools: [{engine: {memory_utilization: 0.1}}]}\n");
  try {
    explored(recipe);
    FAIL("it ran");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::infeasible);
    REQUIRE(error.items().front().where);
    CHECK(error.items().front().where->path == "/deployment/pools/0");
  }
}

}  // namespace
}  // namespace dyn::configurator
