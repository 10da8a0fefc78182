#include "dyn/configurator/explore.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "deployment.h"
#include "dyn/configurator/located.h"
#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/perf/builtin_profiles.h"
#include "dyn/sim/simulation.h"
#include "figures.h"
#include "parallel.h"
#include "score.h"
#include "search.h"
#include "space.h"

namespace dyn::configurator {
namespace {

Precision default_kv_cache(Precision weights) {
  const bool fp8 = weights == Precision::fp8 || weights == Precision::fp8_block;
  return fp8 ? Precision::fp8 : Precision::bf16;
}

Problem look_up(const Recipe& recipe, const std::string& recipe_path,
                const sim::Workload& workload) {
  Problem problem;
  problem.recipe = &recipe;
  with_location(recipe_path, "/model", recipe.model,
                [&] { problem.model = find_model(model_reference(recipe_path, recipe.model)); });
  problem.weights = recipe.weights.value_or(problem.model.native_weights);
  problem.kv_cache = recipe.kv_cache.value_or(default_kv_cache(problem.weights));
  if (recipe.hardware.profile) {
    with_location(recipe_path, "/hardware/profile", *recipe.hardware.profile, [&] {
      problem.profile = load_profile(resolve_beside(recipe_path, *recipe.hardware.profile));
    });
  } else if (!recipe.hardware.gpu.empty()) {
    with_location(recipe_path, "/hardware/gpu", recipe.hardware.gpu, [&] {
      problem.profile = perf::builtin_profile(find_gpu(recipe.hardware.gpu).id);
    });
  }
  problem.stats = workload_stats(workload);
  return problem;
}

[[noreturn]] void fail_infeasible(const Problem& problem, const Space& space,
                                  const std::string& recipe_path) {
  const std::string gpus =
      std::to_string(problem.recipe->hardware.count.high) + " " + problem.profile.device.id;
  ErrorItem item = locate(recipe_path, "/hardware/count");
  if (space.rejected.empty()) {
    item.message = "no topology of what 'search' allows has at most " + gpus;
  } else {
    item.message = "none of " + std::to_string(space.explored) + " topologies of up to " + gpus +
                   " can run " + problem.model.name +
                   ", most often because: " + space.rejected.front().reason;
  }
  item.hint = what_would_fit(problem);
  throw Error(ErrorKind::infeasible, std::vector<ErrorItem>{std::move(item)});
}

void check_load(const Problem& problem, const sim::Workload& workload,
                const std::string& recipe_path) {
  const int block = problem.recipe->engine.block_size;
  if (workload.block_tokens % block != 0) {
    ErrorItem item = locate(recipe_path, "/engine/block_size");
    item.message = "the load's prompts are cut into blocks of " +
                   std::to_string(workload.block_tokens) + " tokens, which " +
                   std::to_string(block) + " does not divide";
    item.hint = "16, 32 and 64 do";
    throw Error(ErrorKind::bad_input, std::vector<ErrorItem>{std::move(item)});
  }
  const auto limit = problem.recipe->engine.max_model_len;
  if (limit && *limit < problem.stats.summary.longest) {
    ErrorItem item = locate(recipe_path, "/engine/max_model_len");
    item.message = "the load's longest request has " +
                   std::to_string(problem.stats.summary.longest) +
                   " tokens, more than max_model_len";
    item.hint = "raise it, or leave it out";
    throw Error(ErrorKind::infeasible, std::vector<ErrorItem>{std::move(item)});
  }
}

/// A replayed topology on its way to being a Candidate.
struct Replayed {
  std::size_t topology = 0;
  Candidate candidate;
  Merit merit;
  std::vector<RequestRecord> records;
  sim::FleetHistory fleet;
};

class Explorer {
 public:
  Explorer(const Problem& problem, const Space& space, const sim::Workload& workload,
           const ExploreOptions& options)
      : problem_(problem),
        space_(space),
        workload_(workload),
        options_(options),
        scorer_(problem, space),
        search_(problem, space, scorer_) {}

  /// Fills in the ranking; false where it was cancelled.
  bool run(ExploreResult& result) {
    const auto total = static_cast<std::size_t>(std::max(1, problem_.recipe->search.replay));
    runs_ = std::min(total, space_.topologies.size()) + 2;
    if (!replay_rounds(total) || !find_intervals()) {
      return false;
    }
    for (Replayed& replayed : ranked_) {
      result.ranked.push_back(std::move(replayed.candidate));
    }
    result.winner_records = std::move(ranked_.front().records);
    result.winner_fleet = std::move(ranked_.front().fleet);
    return true;
  }

 private:
  bool cancelled() const { return options_.cancelled != nullptr && *options_.cancelled; }

  /// Two fifths of the replays spread over modes and layouts, then a fifth at a time: by the
  /// corrected scores, and last also variants of the scheduler's knobs.
  bool replay_rounds(std::size_t total) {
    std::size_t left = total;
    std::size_t size = (total * 2 + 4) / 5;
    Search::Variety variety = Search::Variety::spread;
    double headroom = 1;
    while (left > 0) {
      const std::vector<std::size_t> chosen = search_.next(std::min(size, left), variety);
      if (chosen.empty()) {
        return true;
      }
      if (!replay(chosen)) {
        return false;
      }
      if (!ranked_.front().merit.feasible) {
        headroom *= 0.8;
        search_.demand_headroom(headroom);
      }
      left -= std::min(size, left);
      size = std::max<std::size_t>(2, total / 5);
      variety = left > size ? Search::Variety::distinct : Search::Variety::any;
    }
    return true;
  }

  sim::SimulationResult simulate(const Plan& plan, const Topology& topology,
                                 double factor_first = 1, double factor_second = 1) const {
    sim::SimulationSpec spec;
    spec.plan = &plan;
    spec.seed = problem_.recipe->seed;
    spec.faults = &problem_.recipe->faults;
    spec.cancelled = options_.cancelled;
    const auto add = [&](std::uint32_t shape, double factor) {
      std::shared_ptr<const perf::StepTimer> timer =
          space_.layouts[space_.shapes[shape].layout].model;
      spec.timers.push_back(factor == 1 ? timer : perf::scaled(std::move(timer), factor));
      if (const auto& images = space_.layouts[space_.shapes[shape].layout].images) {
        spec.images.pools.push_back(factor == 1 ? images : perf::scaled(images, factor));
      }
    };
    add(topology.first, factor_first);
    if (topology.disaggregated()) {
      add(topology.second, factor_second);
    }
    return sim::simulate(spec, workload_);
  }

  Replayed make(std::size_t index, sim::SimulationResult run) const {
    Replayed replayed;
    replayed.topology = index;
    Candidate& candidate = replayed.candidate;
    candidate.plan = make_plan(problem_, space_, space_.topologies[index]);
    candidate.plan.predicted = figures_of(run, candidate.plan.gpus());
    candidate.failed_requests = failed(run.records);
    candidate.report = std::move(run.report);
    candidate.analytic = search_.score(index);
    judge(candidate, problem_.recipe->objective);
    replayed.merit = merit_of(candidate, index);
    replayed.records = std::move(run.records);
    replayed.fleet = std::move(run.fleet);
    return replayed;
  }

  Merit merit_of(const Candidate& candidate, std::size_t index) const {
    Merit merit;
    for (const SloCheck& check : candidate.slo) {
      merit.worst = std::max(merit.worst, check.value.value / to_millis(check.target.limit));
    }
    merit.feasible = candidate.meets_slo;
    merit.objective = signed_objective(problem_.recipe->objective, candidate.objective);
    merit.latency = value(candidate, "request_latency.avg") / 1e3;
    merit.gpus = candidate.plan.gpus();
    merit.index = index;
    return merit;
  }

  static double value(const Candidate& candidate, const std::string& figure) {
    const PlannedMetric* metric = find_figure(candidate.plan, figure);
    return metric != nullptr ? metric->estimate.value : 0;
  }

  /// What the replay measured, in the terms of the score.
  static AnalyticScore measured(const Candidate& candidate) {
    AnalyticScore score;
    score.ttft_mean = value(candidate, "time_to_first_token.avg") / 1e3;
    score.ttft_p99 = value(candidate, "time_to_first_token.p99") / 1e3;
    score.itl_mean = value(candidate, "inter_token_latency.avg") / 1e3;
    score.itl_p99 = value(candidate, "inter_token_latency.p99") / 1e3;
    score.request_rate = value(candidate, "request_throughput.avg");
    return score;
  }

  /// Never goes back, whatever is replayed again.
  void report_progress(std::size_t done, const char* what) {
    progress_ = std::max(progress_, std::min(1.0, double(done) / double(runs_)));
    if (options_.progress) {
      options_.progress(progress_, what);
    }
  }

  /// Simulates these topologies and ranks them among those before; keeps only the best one's
  /// request records.
  bool replay(const std::vector<std::size_t>& indices) {
    std::vector<Replayed> results(indices.size());
    parallel_for(
        indices.size(), options_.threads,
        [&](std::size_t i) {
          const Topology& topology = space_.topologies[indices[i]];
          const Plan plan = make_plan(problem_, space_, topology);
          results[i] = make(indices[i], simulate(plan, topology));
        },
        [&](std::size_t done) { report_progress(ranked_.size() + done, "simulating"); },
        options_.cancelled);
    if (cancelled()) {
      return false;
    }
    for (Replayed& replayed : results) {
      search_.learn(replayed.topology, measured(replayed.candidate));
      ranked_.push_back(std::move(replayed));
    }
    sort_ranked();
    return true;
  }

  void sort_ranked() {
    std::sort(ranked_.begin(), ranked_.end(),
              [](const Replayed& a, const Replayed& b) { return a.merit.before(b.merit); });
    for (std::size_t i = 1; i < ranked_.size(); ++i) {
      ranked_[i].records = {};
    }
  }

  /// The bounds of the step times of a pool at its typical step.
  StepBounds bounds_of(std::uint32_t shape, int replicas) {
    const perf::PerfModel& model = *space_.layouts[space_.shapes[shape].layout].model;
    return configurator::bounds_of(
        model.estimate(scorer_.typical_step(shape, replicas)),
        perf::model_spread(problem_.profile, problem_.recipe->engine.kind,
                           problem_.recipe->engine.version.value_or("")));
  }

  /// Those of a whole topology: the wider ones.
  StepBounds bounds_of(const Topology& topology) {
    StepBounds bounds = bounds_of(topology.first, topology.first_replicas);
    if (topology.disaggregated()) {
      const StepBounds second = bounds_of(topology.second, topology.second_replicas);
      bounds.slower = std::max(bounds.slower, second.slower);
      bounds.faster = std::min(bounds.faster, second.faster);
      bounds.provenance = worst(bounds.provenance, second.provenance);
    }
    return bounds;
  }

  /// Replays the winner with slower and with faster steps for its intervals. The others' intervals
  /// are first order.
  bool find_intervals() {
    Replayed& winner = ranked_.front();
    const Topology& topology = space_.topologies[winner.topology];
    const StepBounds first = bounds_of(topology.first, topology.first_replicas);
    const StepBounds second =
        topology.disaggregated() ? bounds_of(topology.second, topology.second_replicas) : first;
    const Plan& plan = winner.candidate.plan;
    const double factors[2][2] = {{first.slower, second.slower}, {first.faster, second.faster}};
    std::vector<PlannedMetric> bounds[2];
    parallel_for(
        2, options_.threads,
        [&](std::size_t i) {
          const auto [one, two] = factors[i];
          bounds[i] = figures_of(simulate(plan, topology, one, two), plan.gpus());
        },
        [&](std::size_t done) { report_progress(ranked_.size() + done, "error bars"); },
        options_.cancelled);
    if (cancelled()) {
      return false;
    }
    set_intervals(winner.candidate.plan.predicted, bounds[0], bounds[1],
                  worst(first.provenance, second.provenance), first.ttft);
    winner.candidate.intervals = IntervalMethod::replayed;
    for (Replayed& replayed : ranked_) {
      finish(replayed);
    }
    return true;
  }

  void finish(Replayed& replayed) {
    Candidate& candidate = replayed.candidate;
    if (candidate.intervals == IntervalMethod::first_order) {
      StepBounds bounds = bounds_of(space_.topologies[replayed.topology]);
      bounds.utilisation = candidate.analytic.utilisation;
      set_first_order(candidate.plan.predicted, bounds, problem_.stats.summary.concurrency > 0);
    }
    judge(candidate, problem_.recipe->objective);
    annotate(candidate.report, candidate.plan.predicted);
  }

  const Problem& problem_;
  const Space& space_;
  const sim::Workload& workload_;
  const ExploreOptions& options_;
  Scorer scorer_;
  Search search_;
  std::vector<Replayed> ranked_;
  std::size_t runs_ = 1;
  double progress_ = 0;
};

void add_costs(const Problem& problem, ExploreResult& result) {
  for (Candidate& candidate : result.ranked) {
    dyn::add_costs(candidate.report, candidate.plan.gpus(), problem.recipe->hardware.price_per_gpu);
  }
}

void add_notes(const Problem& problem, ExploreResult& result) {
  const Candidate& winner = result.ranked.front();
  const std::int64_t context = problem.wanted_context();
  if (context > problem.model.max_context) {
    const std::optional<std::int64_t>& asked = problem.recipe->engine.max_model_len;
    const std::string what = asked ? "engine.max_model_len is " : "the load's longest request has ";
    result.notes.push_back(what + std::to_string(context) + " tokens, but " + problem.model.name +
                           " is made for " + std::to_string(problem.model.max_context) +
                           ": serving it needs a longer context (RoPE scaling)");
  }
  if (winner.failed_requests > 0) {
    result.notes.push_back(std::to_string(winner.failed_requests) +
                           " requests were rejected or failed at the best topology");
  }
  if (!winner.meets_slo && !winner.slo.empty()) {
    result.notes.push_back(
        problem.recipe->deployment
            ? "the fleet misses an SLO"
            : "no simulated topology meets every SLO; ranked by how near they come");
  }
}

}  // namespace

std::string layout_text(const Plan& plan) {
  std::string text;
  if (plan.encode) {
    text =
        std::to_string(plan.encode->replicas) + " x enc tp" + std::to_string(plan.encode->tensor);
  }
  for (const PoolSpec& pool : plan.pools) {
    text += text.empty() ? "" : " + ";
    text += std::to_string(pool.replicas) + " x tp" + std::to_string(pool.layout.tensor);
    text += pool.layout.pipeline > 1 ? " pp" + std::to_string(pool.layout.pipeline) : "";
    text += pool.layout.data > 1 ? " dp" + std::to_string(pool.layout.data) : "";
    text += pool.layout.expert > 1 ? " ep" + std::to_string(pool.layout.expert) : "";
  }
  return text;
}

const char* mode_text(const Plan& plan) {
  return plan.pools.size() > 1 ? "disaggregated" : "aggregated";
}

Plan plan_of(const Recipe& recipe, const std::string& recipe_path, const sim::Workload& workload) {
  return plan_of_deployment(look_up(recipe, recipe_path, workload), recipe_path);
}

ExploreResult explore(const Recipe& recipe, const std::string& recipe_path,
                      const sim::Workload& workload, const ExploreOptions& options) {
  if (workload.requests.empty()) {
    throw Error(ErrorKind::bad_input, "the load has no requests");
  }
  const Problem problem = look_up(recipe, recipe_path, workload);
  if (recipe.deployment) {
    ExploreResult result = run_deployment(problem, recipe_path, workload, options);
    if (!result.cancelled) {
      add_notes(problem, result);
      add_costs(problem, result);
    }
    return result;
  }
  check_load(problem, workload, recipe_path);
  const Space space = enumerate(problem);
  if (space.topologies.empty()) {
    fail_infeasible(problem, space, recipe_path);
  }
  ExploreResult result;
  result.explored = space.explored;
  result.feasible = static_cast<std::int64_t>(space.topologies.size());
  result.rejected = space.rejected;
  result.workload = problem.stats.summary;
  if (!Explorer(problem, space, workload, options).run(result)) {
    ExploreResult nothing;
    nothing.cancelled = true;
    return nothing;
  }
  add_notes(problem, result);
  add_costs(problem, result);
  return result;
}

}  // namespace dyn::configurator
