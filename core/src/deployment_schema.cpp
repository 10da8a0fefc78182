#include <algorithm>

#include "deployment_rules.h"
#include "dyn/core/schemas.h"

namespace dyn {

void describe(ObjectSchema<DeploymentPool>& s) {
  s.about("deployment_pool", "Equal workers of a fixed fleet.");
  s.field("role", &DeploymentPool::role, "What they do.").because("most fleets have one pool");
  s.field("replicas", &DeploymentPool::replicas, "How many workers.")
      .between(1, 100'000)
      .because("one worker");
  s.field("layout", &DeploymentPool::layout, "The GPUs of each.");
  s.field("engine", &DeploymentPool::engine,
          "What its engines have otherwise than the recipe's 'engine'; the same keys.")
      .unset("the recipe's 'engine'");
  s.field("timing", &DeploymentPool::timing, "Where its step times come from.")
      .unset("the recipe's 'timing'");
  s.field("gpu", &DeploymentPool::gpu, "Catalogue id of its GPUs.")
      .not_empty()
      .unset("hardware.gpu");
}

void describe(ObjectSchema<Deployment>& s) {
  s.about("deployment",
          "A fleet that is simulated as it is: nothing is searched for, and hardware.count does "
          "not limit it.");
  s.field("pools", &Deployment::pools,
          "One aggregated pool, or one prefill pool and one decode pool.")
      .required();
  s.field("encode", &Deployment::encode, "Workers that encode images, beside the pools.")
      .brief()
      .unset("who computes a prompt encodes its images");
  s.check([](const Deployment& deployment, Checker& checker) {
    const auto count = [&](WorkerRole role) {
      return std::count_if(deployment.pools.begin(), deployment.pools.end(),
                           [role](const DeploymentPool& pool) { return pool.role == role; });
    };
    const std::size_t pools = deployment.pools.size();
    const bool aggregated = pools == 1 && count(WorkerRole::aggregated) == 1;
    const bool disaggregated =
        pools == 2 && count(WorkerRole::prefill) == 1 && count(WorkerRole::decode) == 1;
    if (!aggregated && !disaggregated) {
      checker.error("pools",
                    "expected one aggregated pool, or one prefill pool and one decode pool");
    }
  });
}

void check_deployment(const Recipe& recipe, Checker& checker) {
  if (recipe.timing.kind != TimingKind::model && !recipe.deployment) {
    checker.error("timing", "a search needs the latency model",
                  "give a deployment too, or leave 'timing' out");
  }
  if (!recipe.hardware.gpu.empty()) {
    return;
  }
  if (!recipe.deployment) {
    checker.error("hardware", "missing key 'hardware'",
                  "a search needs the GPUs that may be used, such as hardware: {gpu: h200}");
    return;
  }
  for (const DeploymentPool& pool : recipe.deployment->pools) {
    const bool modelled = pool.timing.value_or(recipe.timing).kind == TimingKind::model;
    if (modelled && !pool.gpu) {
      checker.error("hardware", "missing key 'hardware'",
                    "the latency model needs the GPU, such as hardware: {gpu: h200}");
      return;
    }
    if (!pool.gpu && !pool.engine.value_or(recipe.engine).kv_blocks.has_value() &&
        !recipe.engine.kv_blocks) {
      checker.error("hardware", "missing key 'hardware'",
                    "without a GPU the KV cache has no size; give hardware, or engine.kv_blocks");
      return;
    }
  }
}

void complete_deployment(const Document& document, Recipe& recipe) {
  if (!recipe.deployment) {
    return;
  }
  Problems problems;
  const Node pools = *document.root().find("deployment")->find("pools");
  for (std::size_t i = 0; i < recipe.deployment->pools.size(); ++i) {
    DeploymentPool& pool = recipe.deployment->pools[i];
    pool.engine = recipe.engine;
    const auto given = pools.at(i).find("engine");
    if (given && !given->is_null()) {
      type_of<EngineConfig>().read(*given, &*pool.engine, problems);  // keeps what is not given
    }
  }
  problems.throw_if_any();
}

}  // namespace dyn
