#include "dyn/core/slo.h"

#include <utility>

namespace dyn {

std::vector<Slo::Target> Slo::targets() const {
  std::vector<Target> result;
  const auto add = [&result](const std::optional<Duration>& limit, const char* prefix,
                             const char* statistic, const char* metric) {
    if (limit) {
      const bool mean = statistic[0] == 'm';
      result.push_back(
          {std::string(prefix) + '_' + statistic, metric, mean ? "avg" : statistic, *limit});
    }
  };
  const auto add_all =
      [&add](const char* prefix, const char* metric, const std::optional<Duration>& mean,
             const std::optional<Duration>& p50, const std::optional<Duration>& p90,
             const std::optional<Duration>& p95, const std::optional<Duration>& p99) {
        add(mean, prefix, "mean", metric);
        add(p50, prefix, "p50", metric);
        add(p90, prefix, "p90", metric);
        add(p95, prefix, "p95", metric);
        add(p99, prefix, "p99", metric);
      };
  add_all("ttft", "time_to_first_token", ttft_mean, ttft_p50, ttft_p90, ttft_p95, ttft_p99);
  add_all("itl", "inter_token_latency", itl_mean, itl_p50, itl_p90, itl_p95, itl_p99);
  add_all("e2e", "request_latency", e2e_mean, e2e_p50, e2e_p90, e2e_p95, e2e_p99);
  return result;
}

}  // namespace dyn
