#include <algorithm>
#include <cmath>
#include <limits>

#include "dyn/configurator/result.h"

namespace dyn::configurator {
namespace {

bool more_is_better(const std::string& name) {
  return name.starts_with("output_token_throughput") || name.starts_with("goodput") ||
         name.starts_with("request_throughput") || name.starts_with("prefix_cache_hit_rate");
}

/// The figures that a gate looks at.
std::vector<std::string> watched(const Plan& before, const Plan& after) {
  std::vector<std::string> names;
  const auto add = [&](const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      names.push_back(name);
    }
  };
  for (const Plan* plan : {&after, &before}) {
    for (const Slo::Target& target : plan->slo.targets()) {
      add(target.metric + '.' + target.statistic);
    }
  }
  if (names.empty()) {
    add("time_to_first_token.p99");
    add("inter_token_latency.p99");
  }
  add("output_token_throughput_per_gpu.avg");
  add("goodput.avg");
  return names;
}

}  // namespace

std::vector<FigureChange> compare(const StoredResult& baseline, const ExploreResult& result,
                                  double tolerance) {
  const Plan& before = baseline.plans.front();
  const Plan& after = result.ranked.front().plan;
  std::vector<FigureChange> changes;
  for (const std::string& name : watched(before, after)) {
    const PlannedMetric* old_figure = find_figure(before, name);
    const PlannedMetric* new_figure = find_figure(after, name);
    if (old_figure == nullptr || new_figure == nullptr) {
      continue;
    }
    FigureChange change;
    change.name = name;
    change.unit = new_figure->unit;
    change.before = old_figure->estimate.value;
    change.after = new_figure->estimate.value;
    const double difference = change.after - change.before;
    if (difference != 0) {
      change.change = change.before != 0
                          ? difference / std::fabs(change.before)
                          : std::copysign(std::numeric_limits<double>::infinity(), difference);
    }
    const double loss = more_is_better(name) ? -change.change : change.change;
    change.worse = loss > tolerance;
    changes.push_back(std::move(change));
  }
  if (baseline.meets_slo.front() && !result.ranked.front().meets_slo) {
    changes.push_back({"slo_met", "of 1", 1, 0, -1, true});
  }
  return changes;
}

}  // namespace dyn::configurator
