#pragma once

#include <optional>
#include <string>
#include <vector>

#include "dyn/core/quantity.h"

namespace dyn {

/// Latency targets. A percentile target holds over the requests of a run; goodput counts the
/// requests that meet every target on their own. Metrics are defined in report.h.
struct Slo {
  std::optional<Duration> ttft_mean, ttft_p50, ttft_p90, ttft_p95, ttft_p99;
  std::optional<Duration> itl_mean, itl_p50, itl_p90, itl_p95, itl_p99;
  std::optional<Duration> e2e_mean, e2e_p50, e2e_p90, e2e_p95, e2e_p99;

  bool empty() const { return *this == Slo{}; }
  bool operator==(const Slo&) const = default;

  /// The targets that are set, in declaration order: `metric` is a report tag
  /// (time_to_first_token, inter_token_latency, request_latency), `statistic` is avg or pNN.
  struct Target {
    std::string name;  ///< as in a recipe, such as ttft_p99
    std::string metric;
    std::string statistic;
    Duration limit;
  };
  std::vector<Target> targets() const;
};

}  // namespace dyn
