#include "dyn/eval/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <map>

#include "dyn/core/json_writer.h"

namespace dyn::eval {
namespace {

/// Predicted over measured of one figure, and how many of its intervals hold the measured value.
struct Errors {
  std::vector<double> relative;
  std::size_t inside = 0;

  void add(const Estimate& predicted, double measured) {
    relative.push_back(predicted.value / measured - 1);
    inside += predicted.low <= measured && measured <= predicted.high ? 1 : 0;
  }
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/// What the model alone says of a figure, with the interval that a simulation would state.
Estimate stated(double value, double relative, const perf::Spread& spread) {
  return perf::widened({value, value * (1 - relative), value * (1 + relative), {}}, spread);
}

/// The shortest interval that holds 90 % of measured / predicted, and 1.
perf::Spread spread_of(std::vector<double> ratios) {
  std::sort(ratios.begin(), ratios.end());
  const auto count =
      static_cast<std::size_t>(std::ceil(0.9 * static_cast<double>(ratios.size()) - 1e-9));
  perf::Spread best{0, 0};
  for (std::size_t i = 0; i + count <= ratios.size(); ++i) {
    const perf::Spread here{std::min(1.0, ratios[i]), std::max(1.0, ratios[i + count - 1])};
    if (i == 0 || here.high / here.low < best.high / best.low) {
      best = here;
    }
  }
  return best;
}

ErrorSummary summary(const Errors& errors) {
  ErrorSummary out;
  std::vector<double> absolute;
  for (const double e : errors.relative) {
    absolute.push_back(std::abs(e));
    out.mean_absolute += std::abs(e);
  }
  const auto n = static_cast<double>(errors.relative.size());
  out.mean_absolute /= n;
  out.median_absolute = median(absolute);
  out.bias = median(errors.relative);
  out.coverage = static_cast<double>(errors.inside) / n;
  return out;
}

constexpr std::array<const char*, 10> kProperties{"all",     "source", "models", "mode",
                                                  "engine",  "system", "model",  "concurrency",
                                                  "lengths", "gpus"};

std::string value_of(const EvaluatedRow& evaluated, const std::string& property) {
  const MeasuredRow& row = evaluated.row;
  if (property == "source") {
    return row.other_client() ? "gap-analysis" : "InferenceX";
  }
  if (property == "models") {
    const bool hopper = row.gpu == "h100" || row.gpu == "h200";
    return evaluated.raw && evaluated.raw->experts ? "with experts"
           : hopper                                ? "dense, on H100 and H200"
                                                   : "dense, elsewhere";
  }
  if (property == "mode") {
    return row.mode();
  }
  if (property == "engine") {
    return row.engine;
  }
  if (property == "system") {
    return row.system;
  }
  if (property == "model") {
    return row.model;
  }
  if (property == "concurrency") {
    return concurrency_band(row.in_flight());
  }
  if (property == "lengths") {
    return row.lengths();
  }
  return property == "gpus" ? std::to_string(row.gpus) : "all";
}

/// Numbers by size, all else by name.
bool by_number(const std::string& a, const std::string& b) {
  const double x = std::strtod(a.c_str(), nullptr);
  const double y = std::strtod(b.c_str(), nullptr);
  return x != y ? x < y : a < b;
}

std::string percent(double fraction) {
  return fmt::format("{:.1f}", 100 * fraction);
}

void write_summary(Writer& out, const char* name, const ErrorSummary& s) {
  const auto rounded = [](double x) { return std::round(x * 1e4) / 1e4; };
  out.key(name);
  out.begin_object();
  for (const auto& [key, value] : {std::pair{"mape", s.mean_absolute},
                                   {"median_ape", s.median_absolute},
                                   {"bias", s.bias},
                                   {"coverage_90", s.coverage}}) {
    out.key(key);
    out.number(rounded(value));
  }
  out.end_object();
}

}  // namespace

std::string concurrency_band(int concurrency) {
  for (const auto& [most, name] :
       {std::pair{4, "1-4"}, {16, "5-16"}, {64, "17-64"}, {256, "65-256"}, {1024, "257-1024"}}) {
    if (concurrency <= most) {
      return name;
    }
  }
  return "1025 and more";
}

Accuracy summarize(const std::vector<EvaluatedRow>& rows, bool raw) {
  Accuracy out;
  out.rows = rows.size();
  for (const EvaluatedRow& row : rows) {
    out.complete += row.row.complete ? 1 : 0;
    out.answered += row.raw ? 1 : 0;
    out.measured += row.measured() ? 1 : 0;
  }
  for (const char* property : kProperties) {
    std::map<std::string, std::pair<Errors, Errors>, decltype(&by_number)> values(&by_number);
    for (const EvaluatedRow& row : rows) {
      if (!row.measured() || (!raw && !row.answer)) {
        continue;
      }
      auto& [ttft, tpot] = values[value_of(row, property)];
      if (raw) {
        const PointFeatures& f = row.raw->features;
        const perf::ModelSpread spread = perf::model_spread({}, row.row.engine);
        ttft.add(stated(row.raw->ttft_ms, f.prefill_error, spread.ttft), *row.row.ttft_ms);
        tpot.add(stated(row.raw->tpot_ms, f.step_error, spread.step), *row.row.tpot_ms);
      } else {
        ttft.add(row.answer->ttft, *row.row.ttft_ms);
        tpot.add(row.answer->tpot, *row.row.tpot_ms);
      }
    }
    for (const auto& [value, errors] : values) {
      out.slices.push_back({property, value, errors.first.relative.size(), summary(errors.first),
                            summary(errors.second)});
    }
  }
  return out;
}

std::vector<EngineSpread> engine_spreads(const std::vector<EvaluatedRow>& rows) {
  std::map<std::string, std::pair<std::vector<double>, std::vector<double>>> ratios;
  for (const EvaluatedRow& row : rows) {
    if (row.measured() && row.raw) {
      for (const std::string& engine : {row.row.engine, std::string("all")}) {
        ratios[engine].first.push_back(*row.row.ttft_ms / row.raw->ttft_ms);
        ratios[engine].second.push_back(*row.row.tpot_ms / row.raw->tpot_ms);
      }
    }
  }
  std::vector<EngineSpread> out;
  for (const auto& [engine, of] : ratios) {
    out.push_back({engine, of.first.size(), {spread_of(of.first), spread_of(of.second)}});
  }
  return out;
}

std::string to_markdown(const std::vector<EngineSpread>& spreads) {
  std::string out =
      "\n## What the model alone leaves\n\n"
      "The shortest intervals that hold 90 % of measured / predicted without correction, by "
      "engine: "
      "what `dyn simulate` widens its intervals by.\n\n"
      "| engine | rows | TTFT | TPOT |\n|---|---|---|---|\n";
  for (const EngineSpread& s : spreads) {
    out +=
        fmt::format("| {} | {} | {:.2f} to {:.2f} | {:.2f} to {:.2f} |\n", s.engine, s.rows,
                    s.spread.ttft.low, s.spread.ttft.high, s.spread.step.low, s.spread.step.high);
  }
  return out;
}

std::string to_text(const Accuracy& accuracy) {
  std::string out =
      fmt::format("{} rows, {} complete, {} answered ({} %), {} of them measured\n", accuracy.rows,
                  accuracy.complete, accuracy.answered,
                  percent(static_cast<double>(accuracy.answered) /
                          std::max<double>(1, static_cast<double>(accuracy.complete))),
                  accuracy.measured);
  out += fmt::format("{:<42} {:>5}  {:^30}  {:^30}\n", "", "", "TTFT, %", "TPOT, %");
  out += fmt::format("{:<42} {:>5}", "slice", "rows");
  for (int i = 0; i < 2; ++i) {
    out += fmt::format("  {:>7} {:>7} {:>7} {:>6}", "MAPE", "median", "bias", "in 90");
  }
  std::string property;
  for (const Slice& slice : accuracy.slices) {
    if (slice.property != property) {
      property = slice.property;
      out += property == "all" ? "" : fmt::format("\n{}", property);
    }
    out += fmt::format("\n{:<42} {:>5}", "  " + slice.value, slice.rows);
    for (const ErrorSummary& s : {slice.ttft, slice.tpot}) {
      out += fmt::format("  {:>7} {:>7} {:>+7.1f} {:>6}", percent(s.mean_absolute),
                         percent(s.median_absolute), 100 * s.bias, percent(s.coverage));
    }
  }
  return out + '\n';
}

std::string to_json(const std::vector<TitledAccuracy>& accuracies, const std::string& table) {
  JsonWriter out;
  out.begin_object();
  out.member("schema", "dyn.accuracy/1");
  out.member("table", table);
  out.key("results");
  out.begin_list();
  for (const TitledAccuracy& titled : accuracies) {
    const Accuracy& a = titled.accuracy;
    out.begin_object();
    out.member("title", titled.title);
    for (const auto& [key, value] : {std::pair{"rows", a.rows},
                                     {"complete", a.complete},
                                     {"answered", a.answered},
                                     {"measured", a.measured}}) {
      out.key(key);
      out.whole(value);
    }
    out.key("slices");
    out.begin_list();
    for (const Slice& slice : a.slices) {
      out.begin_object();
      out.member("property", slice.property);
      out.member("value", slice.value);
      out.key("rows");
      out.whole(slice.rows);
      write_summary(out, "ttft", slice.ttft);
      write_summary(out, "tpot", slice.tpot);
      out.end_object();
    }
    out.end_list();
    out.end_object();
  }
  out.end_list();
  out.end_object();
  return out.finish();
}

std::string to_markdown(const std::vector<TitledAccuracy>& accuracies, const std::string& command) {
  std::string out = "# Accuracy\n\nMade by `" + command +
                    "`.\nErrors in per cent of what was measured: MAPE, the median absolute "
                    "error, the median signed error (bias), and how many measured values lie in "
                    "the stated 90 % interval.\n";
  for (const TitledAccuracy& titled : accuracies) {
    const Accuracy& a = titled.accuracy;
    out += fmt::format("\n## {}\n\n{} rows, {} complete, {} answered, {} of them measured.\n\n",
                       titled.title, a.rows, a.complete, a.answered, a.measured);
    out +=
        "| slice | rows | TTFT MAPE | median | bias | in 90 % | TPOT MAPE | median | bias | "
        "in 90 % |\n|---|---|---|---|---|---|---|---|---|---|\n";
    for (const Slice& slice : a.slices) {
      const std::string name =
          slice.property == "all" ? "**all**" : slice.property + " " + slice.value;
      out += fmt::format("| {} | {} |", name, slice.rows);
      for (const ErrorSummary& s : {slice.ttft, slice.tpot}) {
        out += fmt::format(" {} | {} | {:+.1f} | {} |", percent(s.mean_absolute),
                           percent(s.median_absolute), 100 * s.bias, percent(s.coverage));
      }
      out += '\n';
    }
  }
  return out;
}

std::string refusals_text(const std::vector<EvaluatedRow>& rows) {
  std::map<std::string, std::size_t> reasons;
  for (const EvaluatedRow& row : rows) {
    if (row.row.complete && !row.raw) {
      ++reasons[row.refused];
    }
  }
  std::vector<std::pair<std::string, std::size_t>> sorted(reasons.begin(), reasons.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string out;
  for (const auto& [reason, count] : sorted) {
    out += fmt::format("not answered: {:>5} rows: {}\n", count, reason);
  }
  return out;
}

}  // namespace dyn::eval
