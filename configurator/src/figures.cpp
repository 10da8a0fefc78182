#include "figures.h"

#include <algorithm>
#include <array>

namespace dyn::configurator {
namespace {

constexpr std::array kLatencies{"time_to_first_token", "inter_token_latency", "request_latency",
                                "inter_chunk_latency"};
constexpr std::array kStatistics{"avg", "p50", "p90", "p95", "p99"};

void add(std::vector<PlannedMetric>& figures, std::string name, std::string unit, double value) {
  figures.push_back(
      {std::move(name), std::move(unit), {value, value, value, Provenance::specification}});
}

double average(const Report& report, const char* tag) {
  const Metric* metric = report.find(tag);
  return metric != nullptr ? metric->avg : 0;
}

const PlannedMetric* find(const std::vector<PlannedMetric>& figures, const std::string& name) {
  const auto at = std::find_if(figures.begin(), figures.end(),
                               [&](const PlannedMetric& figure) { return figure.name == name; });
  return at == figures.end() ? nullptr : &*at;
}

double hit_rate(const std::vector<RequestRecord>& records) {
  double cached = 0;
  double prompt = 0;
  for (const RequestRecord& record : records) {
    cached += static_cast<double>(record.cached_tokens);
    prompt += static_cast<double>(record.input_tokens);
  }
  return prompt > 0 ? cached / prompt : 0;
}

/// First tokens are off by what steps are off by and by more: queues, and what engines do before
/// the first step and after it.
void spread_first_token(PlannedMetric& figure, const perf::Spread& ttft) {
  if (figure.name.starts_with("time_to_first_token.")) {
    Estimate& estimate = figure.estimate;
    estimate.low = std::min(estimate.low, estimate.value * ttft.low);
    estimate.high = std::max(estimate.high, estimate.value * ttft.high);
  }
}

std::string objective_figure(Objective objective) {
  switch (objective) {
    case Objective::throughput_per_gpu:
      return "output_token_throughput_per_gpu.avg";
    case Objective::throughput:
      return "output_token_throughput.avg";
    case Objective::goodput_per_gpu:
      return "goodput_per_gpu.avg";
    case Objective::ttft:
      return "time_to_first_token.avg";
    case Objective::itl:
      return "inter_token_latency.avg";
    case Objective::e2e:
      return "request_latency.avg";
    case Objective::gpus:
      break;
  }
  return {};
}

}  // namespace

const char* objective_name(Objective objective) {
  switch (objective) {
    case Objective::throughput_per_gpu:
      return "throughput_per_gpu";
    case Objective::throughput:
      return "throughput";
    case Objective::goodput_per_gpu:
      return "goodput_per_gpu";
    case Objective::ttft:
      return "ttft";
    case Objective::itl:
      return "itl";
    case Objective::e2e:
      return "e2e";
    case Objective::gpus:
      return "gpus";
  }
  return "";
}

const char* objective_unit(Objective objective) {
  switch (objective) {
    case Objective::throughput_per_gpu:
      return "tokens/sec/GPU";
    case Objective::throughput:
      return "tokens/sec";
    case Objective::goodput_per_gpu:
      return "requests/sec/GPU";
    case Objective::ttft:
    case Objective::itl:
    case Objective::e2e:
      return "ms";
    case Objective::gpus:
      return "GPUs";
  }
  return "";
}

bool higher_is_better(Objective objective) {
  return objective == Objective::throughput_per_gpu || objective == Objective::throughput ||
         objective == Objective::goodput_per_gpu;
}

const PlannedMetric* find_figure(const Plan& plan, const std::string& name) {
  return find(plan.predicted, name);
}

std::vector<PlannedMetric> figures_of(const sim::SimulationResult& run, int gpus) {
  std::vector<PlannedMetric> figures;
  for (const char* tag : kLatencies) {
    const Metric* metric = run.report.find(tag);
    for (const char* statistic : kStatistics) {
      if (metric != nullptr && metric->statistic(statistic)) {
        add(figures, std::string(tag) + '.' + statistic, metric->unit,
            *metric->statistic(statistic));
      }
    }
  }
  const double tokens = average(run.report, "output_token_throughput");
  add(figures, "output_token_throughput.avg", "tokens/sec", tokens);
  add(figures, "output_token_throughput_per_gpu.avg", "tokens/sec/GPU", tokens / gpus);
  add(figures, "request_throughput.avg", "requests/sec", average(run.report, "request_throughput"));
  // Without targets every request is a good one.
  const char* good = run.report.find("goodput") != nullptr ? "goodput" : "request_throughput";
  add(figures, "goodput.avg", "requests/sec", average(run.report, good));
  add(figures, "goodput_per_gpu.avg", "requests/sec/GPU", average(run.report, good) / gpus);
  add(figures, "prefix_cache_hit_rate.avg", "ratio", hit_rate(run.records));
  return figures;
}

void set_intervals(std::vector<PlannedMetric>& figures, const std::vector<PlannedMetric>& slower,
                   const std::vector<PlannedMetric>& faster, Provenance provenance,
                   const perf::Spread& ttft) {
  for (PlannedMetric& figure : figures) {
    Estimate& estimate = figure.estimate;
    estimate.provenance = provenance;
    for (const auto* run : {&slower, &faster}) {
      if (const PlannedMetric* bound = find(*run, figure.name)) {
        estimate.low = std::min(estimate.low, bound->estimate.value);
        estimate.high = std::max(estimate.high, bound->estimate.value);
      }
    }
    spread_first_token(figure, ttft);
  }
}

std::vector<PlannedMetric> in_proportion(std::vector<PlannedMetric> figures,
                                         const std::vector<PlannedMetric>& before,
                                         const std::vector<PlannedMetric>& after) {
  for (PlannedMetric& figure : figures) {
    const PlannedMetric* from = find(before, figure.name);
    const PlannedMetric* to = find(after, figure.name);
    if (from != nullptr && to != nullptr && from->estimate.value > 0) {
      figure.estimate.value *= to->estimate.value / from->estimate.value;
    }
  }
  return figures;
}

StepBounds bounds_of(const Estimate& time) {
  StepBounds bounds;
  bounds.provenance = time.provenance;
  if (time.value > 0) {
    bounds.slower = std::max(1.0, time.high / time.value);
    bounds.faster = std::clamp(time.low / time.value, 0.05, 1.0);
  }
  return bounds;
}

StepBounds bounds_of(const Estimate& step, const perf::ModelSpread& spread) {
  StepBounds bounds = bounds_of(perf::widened(step, spread.step));
  bounds.ttft = spread.ttft;
  return bounds;
}

void set_first_order(std::vector<PlannedMetric>& figures, const StepBounds& bounds,
                     bool closed_loop) {
  // An overloaded fleet's throughput is its capacity; one with headroom can lose that first.
  const double busy = closed_loop ? 1.0 : std::min(1.0, bounds.utilisation);
  const double slowed = std::min(1.0, 1 / (busy * bounds.slower));
  const double quickened = busy < 1 ? 1.0 : 1 / bounds.faster;
  for (PlannedMetric& figure : figures) {
    Estimate& estimate = figure.estimate;
    estimate.provenance = bounds.provenance;
    if (figure.unit == "ms") {
      estimate.low = estimate.value * bounds.faster;
      estimate.high = estimate.value * bounds.slower;
      spread_first_token(figure, bounds.ttft);
    } else if (figure.name.find("throughput") != std::string::npos ||
               figure.name.starts_with("goodput")) {
      estimate.low = estimate.value * slowed;
      estimate.high = estimate.value * quickened;
    }
  }
}

std::int64_t failed(const std::vector<RequestRecord>& records) {
  return std::count_if(records.begin(), records.end(), [](const RequestRecord& record) {
    return record.status != RequestStatus::completed && record.status != RequestStatus::cancelled;
  });
}

void judge(Candidate& candidate, Objective objective) {
  candidate.slo.clear();
  candidate.meets_slo = candidate.failed_requests == 0;
  for (const Slo::Target& target : candidate.plan.slo.targets()) {
    SloCheck check;
    check.target = target;
    const PlannedMetric* figure =
        find_figure(candidate.plan, target.metric + '.' + target.statistic);
    check.met = check.certain = figure == nullptr;  // no request has it: nothing to miss
    if (figure != nullptr) {
      const double limit = to_millis(target.limit);
      check.value = figure->estimate;
      check.met = check.value.value <= limit;
      check.certain = check.met ? check.value.high <= limit : check.value.low > limit;
    }
    candidate.meets_slo = candidate.meets_slo && check.met;
    candidate.slo.push_back(std::move(check));
  }
  const PlannedMetric* figure = find_figure(candidate.plan, objective_figure(objective));
  candidate.objective =
      figure != nullptr ? figure->estimate.value : static_cast<double>(candidate.plan.gpus());
}

void annotate(Report& report, const std::vector<PlannedMetric>& figures) {
  for (Metric& metric : report.metrics) {
    if (const PlannedMetric* figure = find(figures, metric.tag + ".avg")) {
      metric.interval = figure->estimate;
    }
  }
}

}  // namespace dyn::configurator
