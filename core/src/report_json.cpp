#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <nlohmann/json.hpp>

#include "dyn/core/document.h"
#include "dyn/core/node.h"
#include "dyn/core/report.h"
#include "dyn/core/version.h"
#include "report_metrics.h"

namespace dyn {
namespace {

constexpr const char* kSchema = "dyn.report/1";
constexpr const char* kAiperfSchema = "1.4";
constexpr std::string_view kProvenances[] = {"measured", "interpolated", "extrapolated",
                                             "specification"};

using Json = nlohmann::ordered_json;

Json metric_json(const Metric& metric) {
  Json json = {{"unit", metric.unit}, {"avg", metric.avg}};
  if (metric.count > 0) {
    for (const auto& [name, member] : detail::kStatistics) {
      json[std::string(name)] = metric.*member;
    }
    json["count"] = metric.count;
  }
  if (metric.interval) {
    json["interval"] = {
        {"value", metric.interval->value},
        {"low", metric.interval->low},
        {"high", metric.interval->high},
        {"provenance", kProvenances[static_cast<std::size_t>(metric.interval->provenance)]}};
  }
  return json;
}

std::string header_of(const std::string& tag) {
  const auto infos = detail::metric_infos();
  const auto found = std::find_if(infos.begin(), infos.end(),
                                  [&](const detail::MetricInfo& info) { return info.tag == tag; });
  return found == infos.end() ? tag : std::string(found->header);
}

/// The number of that key, if it is there and no null.
std::optional<double> number(const Node& object, std::string_view key, Problems& problems) {
  const std::optional<Node> node = object.find(key);
  return node && !node->is_null() ? node->as_double(problems) : std::nullopt;
}

std::optional<Estimate> read_interval(const Node& node, Problems& problems) {
  Estimate estimate;
  for (const auto& [key, member] :
       {std::pair{"value", &Estimate::value}, std::pair{"low", &Estimate::low},
        std::pair{"high", &Estimate::high}}) {
    const std::optional<double> value = number(node, key, problems);
    if (!value) {
      problems.add(node, std::string("expected a number '") + key + "'");
      return std::nullopt;
    }
    estimate.*member = *value;
  }
  const std::optional<Node> provenance = node.find("provenance");
  const std::string text = provenance ? provenance->as_text().value_or("") : "";
  const auto found = std::find(std::begin(kProvenances), std::end(kProvenances), text);
  if (found == std::end(kProvenances)) {
    problems.add(provenance.value_or(node),
                 "expected a provenance: measured, interpolated, extrapolated or specification");
    return std::nullopt;
  }
  estimate.provenance = static_cast<Provenance>(found - std::begin(kProvenances));
  return estimate;
}

Metric read_metric(const Node& node, Problems& problems) {
  Metric metric;
  metric.tag = node.key();
  metric.header = header_of(metric.tag);
  metric.unit = node.find("unit")->as_text(problems).value_or("");
  metric.avg = number(node, "avg", problems).value_or(0);
  if (const std::optional<Node> count = node.find("count"); count && !count->is_null()) {
    metric.count = count->as_int(problems).value_or(0);
    for (const auto& [name, member] : detail::kStatistics) {
      metric.*member = number(node, name, problems).value_or(0);
    }
  }
  if (const std::optional<Node> interval = node.find("interval")) {
    metric.interval = read_interval(*interval, problems);
  }
  return metric;
}

std::vector<Metric> read_metrics(const Node& object, Problems& problems) {
  std::vector<Metric> metrics;
  for (const Node& node : object.children()) {
    if (node.is_object() && node.find("unit")) {
      metrics.push_back(read_metric(node, problems));
    }
  }
  return metrics;
}

std::uint64_t read_fingerprint(const Node& node, Problems& problems) {
  const std::string text = node.as_text().value_or("");
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    problems.add(node, "expected a fingerprint of 16 hexadecimal digits, got " + node.quote());
  }
  return value;
}

}  // namespace

std::string to_json(const Report& report) {
  Json json = {{"schema", kSchema},
               {"schema_version", kAiperfSchema},
               {"dyn_version", version()},
               {"fingerprint", fmt::format("{:016x}", report.fingerprint)}};
  for (const Metric& metric : report.metrics) {
    json[metric.tag] = metric_json(metric);
  }
  for (const ClassReport& one : report.classes) {
    for (const Metric& metric : one.metrics) {
      json["classes"][one.name][metric.tag] = metric_json(metric);
    }
  }
  return json.dump(2) + '\n';
}

Report parse_report(const Document& document) {
  const Node root = document.root();
  Problems problems;
  Report report;
  if (const std::optional<Node> schema = root.find("schema");
      schema && schema->as_text() != kSchema) {
    problems.add(*schema, std::string("expected schema ") + kSchema + ", got " + schema->quote());
  }
  if (const std::optional<Node> fingerprint = root.find("fingerprint")) {
    report.fingerprint = read_fingerprint(*fingerprint, problems);
  }
  report.metrics = read_metrics(root, problems);
  if (const std::optional<Node> classes = root.find("classes")) {
    for (const Node& one : classes->children()) {
      report.classes.push_back({one.key(), read_metrics(one, problems)});
    }
  }
  if (report.metrics.empty() && problems.empty()) {
    problems.add(root, "no metrics: this is not a report",
                 "a report is what dyn simulate writes, or AIPerf's profile_export_aiperf.json");
  }
  problems.throw_if_any();
  return report;
}

}  // namespace dyn
