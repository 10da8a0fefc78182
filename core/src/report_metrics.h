#pragma once

#include <array>
#include <span>
#include <string_view>
#include <utility>

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

}  // namespace dyn::detail
