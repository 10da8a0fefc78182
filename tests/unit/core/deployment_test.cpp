#include "dyn/core/deployment.h"

#include <catch2/catch.hpp>
#include <string>

#include "dyn/core/document.h"
#include "dyn/core/error.h"
#include "dyn/core/recipe.h"

namespace dyn {
namespace {

Recipe parse(const std::string& rest) {
  return parse_recipe(Document::parse(
      "schema: dyn.recipe/1\nmodel: m\ntraffic: {isl: 1, osl: 1, rate: 1/s}\n" + rest, "r.yaml"));
}

/// The first line of the only error.
std::string error_of(const std::string& rest) {
  try {
    parse(rest);
  } catch (const Error& error) {
    REQUIRE(error.items().size() == 1);
    const std::string text = error.what();
    return text.substr(0, text.find('\n'));
  }
  return "no error";
}

TEST_CASE("A pool's engine is the recipe's, but for what the pool gives") {
  const Recipe recipe = parse(
      "hardware: {gpu: h100}\n"
      "deployment:\n"
      "  pools:\n"
      "    - {role: prefill, replicas: 3, layout: {tensor: 2}, engine: {max_num_seqs: 8}}\n"
      "    - {role: decode, gpu: h200}\n"
      "engine: {kind: sglang, max_num_seqs: 32, kv_blocks: 100}\n");
  REQUIRE(recipe.deployment);
  const std::vector<DeploymentPool>& pools = recipe.deployment->pools;
  REQUIRE(pools.size() == 2);
  CHECK(pools[0].replicas == 3);
  CHECK(pools[0].layout.tensor == 2);
  EngineConfig expected = recipe.engine;
  CHECK(*pools[1].engine == expected);
  CHECK(*pools[1].gpu == "h200");
  expected.max_num_seqs = 8;
  CHECK(*pools[0].engine == expected);
}

TEST_CASE("A deployment is one aggregated pool, or prefill and decode") {
  CHECK(error_of("hardware: {gpu: h100}\ndeployment: {pools: [{role: decode}]}\n") ==
        "r.yaml:5:21: error: /deployment/pools: expected one aggregated pool, or one prefill pool "
        "and one decode pool");
}

TEST_CASE("Hardware may be left out only where nothing is derived from it") {
  const std::string given = "deployment: {pools: [{}]}\ntiming: {kind: constant}\n";
  CHECK(parse(given + "engine: {kv_blocks: 10}\n").hardware.gpu.empty());
  CHECK(error_of(given).find("missing key 'hardware'") != std::string::npos);
  CHECK(error_of("deployment: {pools: [{}]}\nengine: {kv_blocks: 10}\n")
            .find("missing key 'hardware'") != std::string::npos);
  CHECK(error_of("").find("missing key 'hardware'") != std::string::npos);
}

TEST_CASE("A search has no step times of its own") {
  CHECK(error_of("hardware: {gpu: h100}\ntiming: {kind: constant}\n") ==
        "r.yaml:5:9: error: /timing: a search needs the latency model (give a deployment too, or "
        "leave 'timing' out)");
}

TEST_CASE("The keys of one kind of timing are errors in another") {
  const std::string rest = "engine: {kv_blocks: 10}\ndeployment: {pools: [{}]}\n";
  CHECK(error_of(rest + "timing: {kind: constant, decode_floor: 2 ms}\n") ==
        "r.yaml:6:40: error: /timing/decode_floor: 'decode_floor' belongs to kind: polynomial");
  CHECK(error_of(rest + "timing: {kind: polynomial, prefill_ms: [1, 2]}\n") ==
        "r.yaml:6:40: error: /timing/prefill_ms: expected 3 coefficients, those of 1, x and x^2; "
        "got 2");
}

}  // namespace
}  // namespace dyn
