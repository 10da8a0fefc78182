#include "dyn/profiler/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "dyn/core/json_writer.h"
#include "dyn/core/schemas.h"

namespace dyn::profiler {
namespace {

double share_of(const perf::OperatorTime& time, const ExplainedStep& step) {
  return step.time.value > 0 ? to_seconds(time.time) / step.time.value : 0;
}

/// Sources, each listed once below the tables.
class Sources {
 public:
  std::size_t number(const std::string& source) {
    const auto found = std::find(listed_.begin(), listed_.end(), source);
    if (found == listed_.end()) {
      listed_.push_back(source);
      return listed_.size();
    }
    return static_cast<std::size_t>(found - listed_.begin()) + 1;
  }
  std::string text() const {
    std::string text = "\nSources\n";
    for (std::size_t i = 0; i < listed_.size(); ++i) {
      text += fmt::format("  [{}] {}\n", i + 1, listed_[i]);
    }
    return text;
  }

 private:
  std::vector<std::string> listed_;
};

}  // namespace

ExplainedStep explain_step(const perf::PerfModel& model, const perf::StepBatch& batch,
                           const std::string& title) {
  return {title, model.estimate(batch), model.explain(batch)};
}

std::string bound_text(const perf::OperatorTime& time) {
  if (time.bound_by == "memory") {
    return "bandwidth";
  }
  if (time.bound_by == "network") {
    return "link";
  }
  return time.bound_by == "latency" ? "launch" : time.bound_by;
}

std::string to_text(const std::vector<ExplainedStep>& steps) {
  std::string text;
  Sources sources;
  for (const ExplainedStep& step : steps) {
    text += fmt::format("{}{}\n  {:.3f} ms, 90 % within {:.3f} to {:.3f} ms, {}\n\n",
                        text.empty() ? "" : "\n", step.title, 1e3 * step.time.value,
                        1e3 * step.time.low, 1e3 * step.time.high, enum_text(step.time.provenance));
    text += fmt::format("  {:<30} {:>11} {:>7}  {:<9} {:>8}  {:<13} {}\n", "operator", "time",
                        "share", "bound by", "90 %", "provenance", "source");
    for (const perf::OperatorTime& time : step.operators) {
      text += fmt::format("  {:<30} {:>8.1f} us {:>5.1f} %  {:<9} +-{:>3.0f} %  {:<13} [{}]\n",
                          time.name, 1e6 * to_seconds(time.time), 100 * share_of(time, step),
                          bound_text(time), 100 * time.relative_error, enum_text(time.provenance),
                          sources.number(time.source));
    }
  }
  return text + sources.text();
}

std::string to_json(const std::vector<ExplainedStep>& steps) {
  JsonWriter json;
  const auto number = [&json](const char* key, double value) {
    json.key(key);
    json.number(std::round(value * 1e4) / 1e4);
  };
  json.begin_object();
  json.member("schema", "dyn.explanation/1");
  json.key("steps");
  json.begin_list();
  for (const ExplainedStep& step : steps) {
    json.begin_object();
    json.member("title", step.title);
    number("time_us", 1e6 * step.time.value);
    number("low_us", 1e6 * step.time.low);
    number("high_us", 1e6 * step.time.high);
    json.member("provenance", enum_text(step.time.provenance));
    json.key("operators");
    json.begin_list();
    for (const perf::OperatorTime& time : step.operators) {
      json.begin_object();
      json.member("name", time.name);
      number("time_us", 1e6 * to_seconds(time.time));
      number("share", share_of(time, step));
      json.member("bound_by", bound_text(time));
      number("relative_error", time.relative_error);
      json.member("provenance", enum_text(time.provenance));
      json.member("source", time.source);
      json.end_object();
    }
    json.end_list();
    json.end_object();
  }
  json.end_list();
  json.end_object();
  return json.finish();
}

}  // namespace dyn::profiler
