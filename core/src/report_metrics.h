#pragma once

#include <array>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "dyn/core/report.h"

namespace dyn::detail {

/// Name, heading and unit of a metric, as in AIPerf 0.13 where it has one.
struct MetricInfo {
  std::string_view tag;
  std::string_view header;
  std::string_view unit;
};

/// Every metric that make_report knows, in the order of a report.
std::span<const MetricInfo> metric_infos();

/// The statistics of a distribution besides avg, in AIPerf's order for exports.
inline constexpr std::array<std::pair<std::string_view, double Metric::*>, 13> kStatistics{{
    {"min", &Metric::min},
    {"max", &Metric::max},
    {"sum", &Metric::sum},
    {"p1", &Metric::p1},
    {"p5", &Metric::p5},
    {"p10", &Metric::p10},
    {"p25", &Metric::p25},
    {"p50", &Metric::p50},
    {"p75", &Metric::p75},
    {"p90", &Metric::p90},
    {"p95", &Metric::p95},
    {"p99", &Metric::p99},
    {"std", &Metric::std},
}};

/// Fills the statistics of a metric, which are `per_unit` to one of the metric's unit. Sums run
/// over sorted values, so that the order of the records does not matter. Needs a value.
void set_distribution(Metric& metric, std::vector<double> values, double per_unit);

/// The same of values that come with how often they occur. `count` stays 0 if there are none.
void set_gap_distribution(Metric& metric, std::span<const GapCount> gaps, double per_unit);

}  // namespace dyn::detail
