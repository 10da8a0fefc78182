#include "deployment.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "dyn/configurator/located.h"
#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/perf/builtin_profiles.h"
#include "dyn/perf/given_timing.h"
#include "fixed_fleet.h"

namespace dyn::configurator {
namespace {

std::string pointer_to(std::size_t pool, const std::string& rest) {
  return "/deployment/pools/" + std::to_string(pool) + rest;
}

void resolve_memory(const Problem& problem, const Profile& profile, PoolSpec& pool) {
  EngineConfig& config = pool.config;
  resolve_hybrid_cache(problem, config);
  if (!config.kv_blocks) {
    perf::PerfTarget target = problem.target(pool.layout);
    target.engine = config.kind;
    target.engine_version = config.version.value_or("");
    target.speculation.reset();
    if (config.speculation) {
      target.speculation = perf::speculation_of(problem.model, *config.speculation);
    }
    const perf::MemoryUse use = perf::memory_use(target, profile.device, config);
    if (use.kv_blocks <= 0) {
      throw Error(ErrorKind::infeasible,
                  "weights and activations do not fit in the memory of a worker's GPUs",
                  "spread it over more of them (layout), or give engine.kv_blocks");
    }
    config.kv_blocks = use.kv_blocks;
    resolve_states(use, config);
  }
  if (!config.max_model_len) {
    config.max_model_len = std::max(problem.model.max_context, problem.stats.summary.longest);
  }
}

PoolSpec make_pool(const Problem& problem, const DeploymentPool& from) {
  PoolSpec pool;
  pool.role = from.role;
  pool.replicas = from.replicas;
  pool.layout = from.layout;
  pool.config = from.engine.value_or(problem.recipe->engine);
  pool.timing = from.timing.value_or(problem.recipe->timing);
  resolve_speculation(problem, pool.config);
  if (from.gpu) {
    pool.profile = perf::builtin_profile(find_gpu(*from.gpu).id);
  }
  resolve_memory(problem, pool.profile ? *pool.profile : problem.profile, pool);
  return pool;
}

/// Leaves in the plan only those fits of its profiles that its step times come from.
void keep_what_is_needed(const Problem& problem, Plan& plan) {
  std::vector<perf::PerfTarget> shared;
  const auto keep = [&](std::optional<Profile>& own, const std::vector<perf::PerfTarget>& targets) {
    if (own) {
      own = perf::profile_for(*own, targets);
    } else {
      shared.insert(shared.end(), targets.begin(), targets.end());
    }
  };
  for (PoolSpec& pool : plan.pools) {
    keep(pool.profile, targets_of(problem, plan, pool));
  }
  if (plan.encode) {
    const PoolSpec& pool = perf::prompt_pool(plan);
    const auto images = problem.image_target(pool.timing, plan.encode->tensor, pool.config.kind);
    keep(plan.encode->profile, images ? std::vector{*images} : std::vector<perf::PerfTarget>());
  }
  plan.profile =
      problem.profile.name.empty() ? Profile{} : perf::profile_for(problem.profile, shared);
}

std::string device_text(const Plan& plan) {
  return plan.profile.name.empty() ? "" : " on " + plan.profile.device.id;
}

}  // namespace

Plan plan_of_deployment(const Problem& problem, const std::string& recipe_path) {
  const Deployment& deployment = *problem.recipe->deployment;
  Plan plan;
  plan.model = problem.model;
  plan.weights = problem.weights;
  plan.kv_cache = problem.kv_cache;
  for (std::size_t i = 0; i < deployment.pools.size(); ++i) {
    const DeploymentPool& from = deployment.pools[i];
    with_location(recipe_path, pointer_to(i, from.gpu ? "/gpu" : ""), from.gpu.value_or(""),
                  [&] { plan.pools.push_back(make_pool(problem, from)); });
  }
  if (deployment.encode) {
    EncodeSpec encode;
    static_cast<EncodeWorkers&>(encode) = *deployment.encode;
    if (const auto& gpu = deployment.encode->gpu) {
      with_location(recipe_path, "/deployment/encode/gpu", *gpu,
                    [&] { encode.profile = perf::builtin_profile(find_gpu(*gpu).id); });
    }
    plan.encode = std::move(encode);
  }
  if (plan.pools.size() > 1) {
    // The prefill pool comes first, in whatever order they are given.
    std::stable_sort(plan.pools.begin(), plan.pools.end(),
                     [](const PoolSpec& a, const PoolSpec& b) {
                       return a.role == WorkerRole::prefill && b.role == WorkerRole::decode;
                     });
    plan.transfer = make_transfer(problem);
  }
  keep_what_is_needed(problem, plan);
  follow_recipe(*problem.recipe, plan);
  plan.name = problem.model.name + device_text(plan) + ": " + layout_text(plan);
  return plan;
}

ExploreResult run_deployment(const Problem& problem, const std::string& recipe_path,
                             const sim::Workload& workload, const ExploreOptions& options) {
  Plan plan = plan_of_deployment(problem, recipe_path);
  for (std::size_t i = 0; i < plan.pools.size(); ++i) {
    if (workload.block_tokens % plan.pools[i].config.block_size != 0) {
      ErrorItem item = locate(recipe_path, "/deployment");
      item.message = "the load's prompts are cut into blocks of " +
                     std::to_string(workload.block_tokens) + " tokens, which a block_size of " +
                     std::to_string(plan.pools[i].config.block_size) + " does not divide";
      item.hint = "16, 32 and 64 do";
      throw Error(ErrorKind::bad_input, std::vector<ErrorItem>{std::move(item)});
    }
  }
  ExploreResult result;
  with_location(recipe_path, "/deployment", "",
                [&] { result = simulate_fleet(problem, std::move(plan), workload, options); });
  if (result.cancelled) {
    ExploreResult nothing;
    nothing.cancelled = true;
    return nothing;
  }
  return result;
}

}  // namespace dyn::configurator
