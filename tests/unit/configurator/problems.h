#pragma once

#include <string>

#include "dyn/core/catalogue.h"
#include "dyn/perf/builtin_profiles.h"
#include "dyn/sim/workload.h"
#include "space.h"

namespace dyn::configurator::test {

/// A small question that most tests share: an 8B model, two GPUs, 40 short requests.
inline Recipe small_recipe() {
  Recipe recipe;
  recipe.model = "Qwen/Qwen3-8B";
  recipe.hardware.gpu = "h100";
  recipe.hardware.count = {1, 2};
  recipe.traffic.isl = Tokens(500);
  recipe.traffic.osl = Tokens(50);
  recipe.traffic.rate = RequestsPerSec(4);
  recipe.traffic.requests = 40;
  recipe.slo.ttft_p99 = std::chrono::seconds(2);
  recipe.slo.itl_p99 = std::chrono::milliseconds(50);
  recipe.search.replay = 4;
  return recipe;
}

/// The recipe with everything looked up, as explore() does it. `recipe` must outlive it.
inline Problem problem_of(const Recipe& recipe, const sim::Workload& workload) {
  Problem problem;
  problem.recipe = &recipe;
  problem.model = find_model(recipe.model);
  problem.weights = recipe.weights.value_or(problem.model.native_weights);
  problem.kv_cache = recipe.kv_cache.value_or(Precision::bf16);
  problem.profile = perf::builtin_profile(recipe.hardware.gpu);
  problem.stats = workload_stats(workload);
  return problem;
}

inline sim::Workload load_of(const Recipe& recipe) {
  return sim::make_synthetic(recipe.traffic, recipe.seed);
}

/// The question of the project's README: Qwen3-32B on up to 32 H200.
inline Recipe large_recipe() {
  Recipe recipe = small_recipe();
  recipe.model = "Qwen/Qwen3-32B";
  recipe.weights = Precision::fp8;
  recipe.hardware.gpu = "h200";
  recipe.hardware.count = {1, 32};
  recipe.traffic.isl = Tokens(4000);
  recipe.traffic.osl = Tokens(500);
  recipe.traffic.rate = RequestsPerSec(8);
  recipe.traffic.requests = 200;
  recipe.slo.itl_p99 = std::chrono::milliseconds(30);
  return recipe;
}

}  // namespace dyn::configurator::test
