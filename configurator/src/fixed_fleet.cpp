#include "fixed_fleet.h"

#include <algorithm>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "dyn/perf/given_timing.h"
#include "dyn/perf/model_spread.h"
#include "dyn/perf/perf_model.h"
#include "dyn/sim/simulation.h"
#include "figures.h"
#include "parallel.h"

namespace dyn::configurator {
namespace {

using Timers = std::vector<std::shared_ptr<const perf::StepTimer>>;

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
      bounds =
          configurator::bounds_of(model->estimate(mean_step(pool, run, first_engine)),
                                  perf::model_spread(perf::profile_of(plan, pool), pool.config.kind,
                                                     pool.config.version.value_or("")));
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

/// The figures of a run, and of the same with slower and with faster steps.
struct Ends {
  std::vector<PlannedMetric> value, slower, faster;
  Provenance provenance = Provenance::measured;
  perf::Spread ttft;
};

/// Whether so many requests are like all that come after them: a long closed loop of requests
/// that are drawn alike, on a fleet that stays as it is. What starts with it, such as all slots at
/// once and empty caches, has to be a small part of either.
std::optional<std::size_t> like_the_whole(const Recipe& recipe, const sim::Workload& load) {
  constexpr std::size_t kLeast = 10'000;
  constexpr std::size_t kRounds = 64;  // requests of each slot
  const bool alike = load.concurrency > 0 && load.follow_ups.empty() && !recipe.traffic.trace;
  const bool stays = recipe.autoscaler.kind == AutoscalerKind::off && recipe.faults.empty();
  const std::size_t start =
      load.warmup +
      std::max(kLeast, kRounds * static_cast<std::size_t>(std::max(load.concurrency, 0)));
  return alike && stays && load.requests.size() >= 2 * start ? std::optional(start) : std::nullopt;
}

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
    const auto start = modelled() ? like_the_whole(*problem_.recipe, workload_) : std::nullopt;
    std::future<Ends> beside;
    if (start) {
      beside = std::async(options_.threads == 1 ? std::launch::deferred : std::launch::async,
                          [this, count = *start] { return ends_of_start(count); });
    }
    sim::SimulationResult exact = simulate(timers_, workload_, options_.timeline_points);
    ExploreResult result;
    result.explored = result.feasible = 1;
    result.workload = problem_.stats.summary;
    Candidate candidate;
    candidate.plan = plan_;
    candidate.plan.predicted = figures_of(exact, plan_.gpus());
    std::vector<PlannedMetric>& figures = candidate.plan.predicted;
    if (start) {
      const Ends ends = beside.get();
      set_intervals(figures, in_proportion(figures, ends.value, ends.slower),
                    in_proportion(figures, ends.value, ends.faster), ends.provenance, ends.ttft);
    } else {
      const Ends ends = ends_around(exact, workload_, options_.threads);
      set_intervals(figures, ends.slower, ends.faster, ends.provenance, ends.ttft);
    }
    result.cancelled = cancelled();
    candidate.intervals = start ? IntervalMethod::replayed_start : IntervalMethod::replayed;
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
  bool modelled() const {
    return !timers_.images.pools.empty() || timers_.images.encode ||
           std::any_of(timers_.steps.begin(), timers_.steps.end(), [](const auto& timer) {
             return dynamic_cast<const perf::PerfModel*>(timer.get()) != nullptr;
           });
  }

  sim::SimulationResult simulate(const FleetTimers& timers, const sim::Workload& load,
                                 std::size_t timeline_points = 0) const {
    sim::SimulationSpec spec;
    spec.timeline_points = timeline_points;
    spec.plan = &plan_;
    spec.timers = timers.steps;
    spec.images = timers.images;
    spec.seed = problem_.recipe->seed;
    spec.faults = &problem_.recipe->faults;
    spec.cancelled = options_.cancelled;
    return sim::simulate(spec, load);
  }

  /// Of the first requests alone, one run after the other.
  Ends ends_of_start(std::size_t count) const {
    const sim::Workload start = sim::first_requests(workload_, count);
    return ends_around(simulate(timers_, start), start, 1);
  }

  /// Of the load that `run` is of.
  Ends ends_around(const sim::SimulationResult& run, const sim::Workload& load, int threads) const {
    const std::vector<StepBounds> bounds = bounds_of(plan_, timers_.steps, run);
    Ends ends;
    ends.value = figures_of(run, plan_.gpus());
    FleetTimers slower, faster;
    bool wide = false;
    const auto widen = [&](const auto& timer, const StepBounds& by, auto& slow, auto& fast) {
      slow = perf::scaled(timer, by.slower);
      fast = perf::scaled(timer, by.faster);
      ends.provenance = worst(ends.provenance, by.provenance);
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
      ends.slower = ends.faster = ends.value;
      return ends;
    }
    ends.ttft = bounds.front().ttft;  // the first pool is the one that has the prompts
    const FleetTimers* timers[2] = {&slower, &faster};
    std::vector<PlannedMetric>* figures[2] = {&ends.slower, &ends.faster};
    const auto tick = [&](std::size_t done) {
      if (&load == &workload_) {  // else this is beside the thread that reports
        progress((1 + double(done)) / 3, "error bars");
      }
    };
    parallel_for(
        2, threads,
        [&](std::size_t i) { *figures[i] = figures_of(simulate(*timers[i], load), plan_.gpus()); },
        tick, options_.cancelled);
    return ends;
  }

  const Problem& problem_;
  const Plan plan_;
  const sim::Workload& workload_;
  const ExploreOptions& options_;
  const FleetTimers timers_;
};

}  // namespace

ExploreResult simulate_fleet(const Problem& problem, Plan plan, const sim::Workload& workload,
                             const ExploreOptions& options) {
  return FixedFleet(problem, std::move(plan), workload, options).run();
}

}  // namespace dyn::configurator
