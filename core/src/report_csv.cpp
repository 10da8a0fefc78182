#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "dyn/core/report.h"
#include "report_metrics.h"

namespace dyn {
namespace {

constexpr const char* kEndOfLine = "\r\n";

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) {
    return text;
  }
  std::string result = "\"";
  for (const char c : text) {
    result += c == '"' ? "\"\"" : std::string(1, c);
  }
  return result + '"';
}

std::string heading(const Metric& metric) {
  const bool bare = metric.unit.empty() || metric.unit == "count" || metric.unit == "requests";
  return quoted(bare ? metric.header : metric.header + " (" + metric.unit + ")");
}

}  // namespace

std::string to_csv(const Report& report) {
  std::vector<const Metric*> sorted;
  for (const Metric& metric : report.metrics) {
    sorted.push_back(&metric);
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const Metric* a, const Metric* b) { return a->tag < b->tag; });
  std::string distributions;
  std::string values;
  for (const Metric* metric : sorted) {
    std::string& text = metric->count > 0 ? distributions : values;
    text += heading(*metric);
    fmt::format_to(std::back_inserter(text), ",{:.2f}", metric->avg);
    if (metric->count > 0) {
      for (const auto& [name, member] : detail::kStatistics) {
        fmt::format_to(std::back_inserter(text), ",{:.2f}", metric->*member);
      }
    }
    text += kEndOfLine;
  }
  std::string result;
  if (!distributions.empty()) {
    result = "Metric,avg";
    for (const auto& [name, member] : detail::kStatistics) {
      result += ',' + std::string(name);
    }
    result += kEndOfLine + distributions;
    result += values.empty() ? "" : kEndOfLine;
  }
  if (!values.empty()) {
    result += std::string("Metric,Value") + kEndOfLine + values;
  }
  return result;
}

}  // namespace dyn
