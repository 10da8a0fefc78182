#include "deployment.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "dyn/configurator/located.h"
#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/perf/builtin_profiles.h"
#include "dyn/perf/given_timing.h"
#include "dyn/sim/simulation.h"
#include "figures.h"
#include "parallel.h"

namespace dyn::configurator {
namespace {

using Timers = std::vector<std::shared_ptr<const perf::StepTimer>>;

std::string pointer_to(std::size_t pool, const std::string& rest) {
  return "/deployment/pools/" + std::to_string(pool) + rest;
}

void resolve_memory(const Problem& problem, const Profile& profile, PoolSpec& pool) {
  EngineConfig& config = pool.config;
  resolve_hybrid_cache(problem, config);
  if (!config.kv_blocks) {
    perf::PerfTarget target = problem.target(pool.layout);
    target.engine = config.kind;
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

/// The mean step of a pool's engines in a run.
perf::StepBatch mean_step(const PoolSpec& pool, const sim::SimulationResult& run,
                          std::size_t first_engine) {
  double steps = 0;
  const auto engines =
      static_cast<std::size_t>(pool.replicas) * static_cast<std::size_t>(pool.layout.data);
  for (std::size_t i = 0; i < engines; ++i) {
    steps += static_cast<double>(run.engines[first_engine + i].steps);
  }
  double computed = 0, made = 0, context = 0;
  for (const RequestRecord& record : run.records) {
    computed += static_cast<double>(record.input_tokens - record.cached_tokens);
    made += static_cast<double>(record.output_tokens);
    context +=
        static_cast<double>(record.output_tokens) *
        (static_cast<double>(record.input_tokens) + static_cast<double>(record.output_tokens) / 2);
  }
  const auto whole = [](double value) { return static_cast<std::int64_t>(value + 0.5); };
  perf::StepBatch batch;
  steps = std::max(1.0, steps);
  if (pool.role != WorkerRole::decode && computed >= steps) {
    const std::int64_t chunk = whole(computed / steps);
    batch.add_prefill(chunk, 0, true);
  }
  if (pool.role != WorkerRole::prefill || batch.empty()) {
    batch.decode_sequences =
        static_cast<std::int32_t>(std::max<std::int64_t>(1, whole(made / steps)));
    batch.decode_context = std::max<std::int64_t>(batch.decode_sequences, whole(context / steps));
    batch.sampled += batch.decode_sequences;
  }
  return batch;
}

/// How far step times may be off, a pool each.
std::vector<StepBounds> bounds_of(const Plan& plan, const Timers& timers,
                                  const sim::SimulationResult& run) {
  std::vector<StepBounds> all;
  std::size_t first_engine = 0;
  for (std::size_t i = 0; i < plan.pools.size(); ++i) {
    const PoolSpec& pool = plan.pools[i];
    StepBounds bounds;
    bounds.provenance = Provenance::specification;
    if (const auto* model = dynamic_cast<const perf::PerfModel*>(timers[i].get())) {
      bounds = configurator::bounds_of(
          model->estimate(mean_step(pool, run, first_engine)),
          perf::model_spread(perf::profile_of(plan, pool), pool.config.kind));
    }
    first_engine +=
        static_cast<std::size_t>(pool.replicas) * static_cast<std::size_t>(pool.layout.data);
    all.push_back(bounds);
  }
  return all;
}

/// How far the times of images may be off, from one of the load's.
StepBounds image_bounds(const perf::ImageTimer& timer, const ImageSize& size) {
  perf::ImageBatch one;
  one.add(size);
  return configurator::bounds_of(timer.estimate(one));
}

/// What a fleet's times come from.
struct FleetTimers {
  Timers steps;
  sim::ImageTimers images;
};

class FixedFleet {
 public:
  FixedFleet(const Problem& problem, Plan plan, const sim::Workload& workload,
             const ExploreOptions& options)
      : problem_(problem),
        plan_(std::move(plan)),
        workload_(workload),
        options_(options),
        timers_{sim::compile_timers(plan_), sim::compile_image_timers(plan_, workload)} {}

  ExploreResult run() {
    progress(0, "simulating");
    sim::SimulationResult exact = simulate(timers_, options_.timeline_points);
    ExploreResult result;
    result.explored = result.feasible = 1;
    result.workload = problem_.stats.summary;
    Candidate candidate;
    candidate.plan = plan_;
    candidate.plan.predicted = figures_of(exact, plan_.gpus());
    set_bounds(candidate.plan.predicted, exact);
    result.cancelled = cancelled();
    candidate.intervals = IntervalMethod::replayed;
    candidate.failed_requests = failed(exact.records);
    candidate.report = std::move(exact.report);
    judge(candidate, problem_.recipe->objective);
    annotate(candidate.report, candidate.plan.predicted);
    result.winner_records = std::move(exact.records);
    result.winner_fleet = std::move(exact.fleet);
    if (options_.timeline_points > 0) {
      result.winner_timeline = std::move(exact.timeline);
    }
    result.ranked.push_back(std::move(candidate));
    return result;
  }

 private:
  bool cancelled() const { return options_.cancelled != nullptr && *options_.cancelled; }
  void progress(double share, const char* what) const {
    if (options_.progress) {
      options_.progress(share, what);
    }
  }

  sim::SimulationResult simulate(const FleetTimers& timers, std::size_t timeline_points = 0) const {
    sim::SimulationSpec spec;
    spec.timeline_points = timeline_points;
    spec.plan = &plan_;
    spec.timers = timers.steps;
    spec.images = timers.images;
    spec.seed = problem_.recipe->seed;
    spec.faults = &problem_.recipe->faults;
    spec.cancelled = options_.cancelled;
    return sim::simulate(spec, workload_);
  }

  void set_bounds(std::vector<PlannedMetric>& figures, const sim::SimulationResult& exact) {
    const std::vector<StepBounds> bounds = bounds_of(plan_, timers_.steps, exact);
    FleetTimers slower, faster;
    Provenance provenance = Provenance::measured;
    bool wide = false;
    const auto widen = [&](const auto& timer, const StepBounds& by, auto& slow, auto& fast) {
      slow = perf::scaled(timer, by.slower);
      fast = perf::scaled(timer, by.faster);
      provenance = worst(provenance, by.provenance);
      wide = wide || by.slower > by.faster;
    };
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      widen(timers_.steps[i], bounds[i], slower.steps.emplace_back(), faster.steps.emplace_back());
    }
    const sim::ImageTimers& images = timers_.images;
    for (const auto& timer : images.pools) {
      widen(timer, image_bounds(*timer, problem_.stats.image), slower.images.pools.emplace_back(),
            faster.images.pools.emplace_back());
    }
    if (images.encode) {
      widen(images.encode, image_bounds(*images.encode, problem_.stats.image), slower.images.encode,
            faster.images.encode);
    }
    if (!wide || cancelled()) {
      return set_intervals(figures, figures, figures, provenance, {});
    }
    const FleetTimers* timers[2] = {&slower, &faster};
    std::vector<PlannedMetric> ends[2];
    parallel_for(
        2, options_.threads,
        [&](std::size_t i) { ends[i] = figures_of(simulate(*timers[i]), plan_.gpus()); },
        [&](std::size_t done) { progress((1 + double(done)) / 3, "error bars"); },
        options_.cancelled);
    // The first pool is the one that has the prompts.
    set_intervals(figures, ends[0], ends[1], provenance, bounds.front().ttft);
  }

  const Problem& problem_;
  const Plan plan_;
  const sim::Workload& workload_;
  const ExploreOptions& options_;
  const FleetTimers timers_;
};

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
                [&] { result = FixedFleet(problem, std::move(plan), workload, options).run(); });
  if (result.cancelled) {
    ExploreResult nothing;
    nothing.cancelled = true;
    return nothing;
  }
  return result;
}

}  // namespace dyn::configurator
