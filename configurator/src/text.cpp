#include "dyn/configurator/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "cache_bound.h"
#include "dyn/core/version.h"
#include "dyn/perf/given_timing.h"
#include "dyn/perf/model_spread.h"

namespace dyn::configurator {
namespace {

using Row = std::vector<std::string>;

/// Columns padded to their widest cell; the first `left` of them to the left.
std::string align(const std::vector<Row>& rows, std::size_t left) {
  std::vector<std::size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += i == 0 ? "" : "  ";
      line += i < left ? fmt::format("{:<{}}", row[i], widths[i])
                       : fmt::format("{:>{}}", row[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

/// A latency of a plan's figure, in ms or s.
std::string latency(double ms) {
  if (ms >= 10'000) {
    return fmt::format("{:.1f} s", ms / 1e3);
  }
  if (ms >= 1'000) {
    return fmt::format("{:.2f} s", ms / 1e3);
  }
  return fmt::format("{:.{}f} ms", ms, ms >= 100 ? 0 : 1);
}

double value(const Plan& plan, const std::string& name) {
  const PlannedMetric* figure = find_figure(plan, name);
  return figure != nullptr ? figure->estimate.value : 0;
}

std::string number(double value) {
  return fmt::format("{:.{}f}", value, value >= 100 ? 0 : value >= 10 ? 1 : 2);
}

std::string verdict(const Candidate& candidate) {
  if (candidate.slo.empty()) {
    return candidate.failed_requests == 0 ? "-" : "failures";
  }
  const bool certain = std::all_of(
      candidate.slo.begin(), candidate.slo.end(),
      [&](const SloCheck& check) { return check.met != candidate.meets_slo || check.certain; });
  return std::string(candidate.meets_slo ? "yes" : "no") + (certain ? "" : "?");
}

/// Half the width of the interval of the figure, relative to it.
std::string half_width(const Plan& plan, const std::string& name) {
  const PlannedMetric* figure = find_figure(plan, name);
  if (figure == nullptr || figure->estimate.value <= 0) {
    return "-";
  }
  const Estimate& e = figure->estimate;
  const double share = (e.high - e.low) / 2 / e.value;
  return share < 9.995 ? fmt::format("{:.0f}%", 100 * share) : ">999%";
}

/// The engine's knobs: those of the workers that the deployment is named after.
std::string knobs(const Plan& plan) {
  return fmt::format("{}/{}", plan.pools.front().config.max_num_batched_tokens,
                     plan.pools.back().config.max_num_seqs);
}

Row row_of(const Candidate& candidate, std::size_t rank) {
  const Plan& plan = candidate.plan;
  return {std::to_string(rank),
          plan.pools.size() > 1 ? "disagg" : "agg",
          layout_text(plan),
          knobs(plan),
          std::to_string(plan.gpus()),
          latency(value(plan, "time_to_first_token.p50")),
          latency(value(plan, "time_to_first_token.p99")),
          half_width(plan, "time_to_first_token.p99"),
          latency(value(plan, "inter_token_latency.p50")),
          latency(value(plan, "inter_token_latency.p99")),
          half_width(plan, "inter_token_latency.p99"),
          number(value(plan, "output_token_throughput_per_gpu.avg")),
          half_width(plan, "output_token_throughput_per_gpu.avg"),
          number(value(plan, "goodput.avg")) + "/s",
          fmt::format("{:.1f}%", 100 * value(plan, "prefix_cache_hit_rate.avg")),
          verdict(candidate)};
}

std::string load_text(const WorkloadSummary& load) {
  std::string text = fmt::format("{} requests, {:.0f} tokens in and {:.0f} out on average",
                                 load.requests, load.mean_input, load.mean_output);
  text += load.concurrency > 0 ? fmt::format(", {} at a time", load.concurrency)
                               : fmt::format(", {:.2f} a second", load.request_rate);
  return text + fmt::format("; {:.1f}% of the prompts' tokens come again", 100 * load.reuse);
}

bool any_unsure(const ExploreResult& result) {
  return std::any_of(result.ranked.begin(), result.ranked.end(),
                     [](const Candidate& c) { return verdict(c).ends_with('?'); });
}

/// Whether the plan's intervals are as wide as published runs were off, for want of a run of its
/// own.
bool is_uncalibrated(const Plan& plan) {
  const PoolSpec& pool = plan.pools.front();
  return pool.timing.kind == TimingKind::model &&
         perf::model_spread(perf::profile_of(plan, pool), pool.config.kind,
                            pool.config.version.value_or(""))
                 .step.high > 1;
}

}  // namespace

std::string to_table(const ExploreResult& result, const Recipe& recipe) {
  std::string text;
  if (recipe.deployment) {
    text = fmt::format("{}: {}\n\n", result.ranked.front().plan.name, load_text(result.workload));
  } else {
    text = fmt::format("{} on up to {} {}: {}\n", recipe.model, recipe.hardware.count.high,
                       recipe.hardware.gpu, load_text(result.workload));
    text +=
        fmt::format("{} topologies explored, {} can run, {} simulated; by {}\n\n", result.explored,
                    result.feasible, result.ranked.size(), objective_name(recipe.objective));
  }
  std::vector<Row> rows{{"#", "mode", "layout", "tokens/seqs", "GPUs", "TTFT p50", "p99", "+-",
                         "ITL p50", "p99", "+-", "tok/s/GPU", "+-", "goodput", "hits", "SLO"}};
  for (std::size_t i = 0; i < result.ranked.size(); ++i) {
    rows.push_back(row_of(result.ranked[i], i + 1));
  }
  text += align(rows, 4);
  if (any_unsure(result)) {
    text += "\n?: the error bar reaches across a limit\n";
  }
  if (is_uncalibrated(result.ranked.front().plan)) {
    text += fmt::format(
        "{}+-: half the 90 % interval, which is as wide as published runs of {} were off; one of "
        "your "
        "own narrows it: dyn profile calibrate --help\n",
        any_unsure(result) ? "" : "\n", result.ranked.front().plan.pools.front().config.kind);
  }
  for (const CacheBound& bound : cache_bounds(result.ranked.front().plan)) {
    text += fmt::format("cache of {} engines: {}\n", role_text(bound.role), to_text(bound));
  }
  for (const Rejection& rejection : result.rejected) {
    text += fmt::format("left out: {} ({})\n", rejection.reason, rejection.count);
  }
  for (const std::string& note : result.notes) {
    text += "note: " + note + '\n';
  }
  return text;
}

std::string to_table(const std::vector<FigureChange>& changes, double tolerance) {
  std::vector<Row> rows{{"figure", "unit", "baseline", "now", "change", ""}};
  for (const FigureChange& change : changes) {
    rows.push_back({change.name, change.unit, number(change.before), number(change.after),
                    fmt::format("{:+.1f}%", 100 * change.change), change.worse ? "worse" : "ok"});
  }
  const auto worse = std::count_if(changes.begin(), changes.end(),
                                   [](const FigureChange& change) { return change.worse; });
  std::string text = align(rows, 2);
  text += worse == 0 ? fmt::format("nothing is worse than the baseline by more than {:.3g}%\n",
                                   100 * tolerance)
                     : fmt::format(
                           "{} of {} figures are worse than the baseline by more than "
                           "{:.3g}%\n",
                           worse, changes.size(), 100 * tolerance);
  return text;
}

std::string to_json(const std::vector<FigureChange>& changes, double tolerance,
                    const std::string& baseline) {
  nlohmann::ordered_json json;
  json["schema"] = "dyn.comparison/1";
  json["dyn_version"] = std::string(version());
  json["baseline"] = baseline;
  json["tolerance"] = tolerance;
  json["worse"] = std::any_of(changes.begin(), changes.end(),
                              [](const FigureChange& change) { return change.worse; });
  json["figures"] = nlohmann::ordered_json::array();
  for (const FigureChange& change : changes) {
    nlohmann::ordered_json entry{{"name", change.name},
                                 {"unit", change.unit},
                                 {"baseline", change.before},
                                 {"value", change.after}};
    // JSON has no infinity: a figure that was 0 has no relative change.
    entry["change"] = std::isfinite(change.change) ? nlohmann::ordered_json(change.change)
                                                   : nlohmann::ordered_json(nullptr);
    entry["worse"] = change.worse;
    json["figures"].push_back(std::move(entry));
  }
  return json.dump(1) + '\n';
}

std::string summary(const Plan& plan) {
  std::string text = plan.name + '\n';
  const std::vector<CacheBound> bounds = cache_bounds(plan);
  for (const PoolSpec& pool : plan.pools) {
    text += fmt::format(
        "  {:<10}  {} worker{} of {} GPU{} (tp {}, pp {}, dp {}, ep {}), "
        "{} tokens a step, {} sequences, {} KV blocks\n",
        role_text(pool.role), pool.replicas, pool.replicas == 1 ? "" : "s", pool.layout.gpus(),
        pool.layout.gpus() == 1 ? "" : "s", pool.layout.tensor, pool.layout.pipeline,
        pool.layout.data, pool.layout.expert, pool.config.max_num_batched_tokens,
        pool.config.max_num_seqs, pool.config.kv_blocks.value_or(0));
    for (const CacheBound& bound : bounds) {
      text += bound.role == pool.role ? "              " + to_text(bound) + '\n' : "";
    }
  }
  for (const char* name : {"time_to_first_token.p99", "inter_token_latency.p99",
                           "output_token_throughput_per_gpu.avg", "goodput.avg"}) {
    if (const PlannedMetric* figure = find_figure(plan, name)) {
      text +=
          fmt::format("  {:<36} {} {} ({} to {})\n", name, number(figure->estimate.value),
                      figure->unit, number(figure->estimate.low), number(figure->estimate.high));
    }
  }
  return text;
}

}  // namespace dyn::configurator
