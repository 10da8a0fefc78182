#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <utility>

#include "report_metrics.h"

namespace dyn {
namespace {

constexpr std::array<std::pair<double, double Metric::*>, 9> kPercentiles{{
    {1, &Metric::p1},
    {5, &Metric::p5},
    {10, &Metric::p10},
    {25, &Metric::p25},
    {50, &Metric::p50},
    {75, &Metric::p75},
    {90, &Metric::p90},
    {95, &Metric::p95},
    {99, &Metric::p99},
}};

/// Sorts by value: radix sort of the bits, since a run has millions of values. Deterministic.
void sort_values(std::vector<double>& values) {
  constexpr std::size_t kDigitBits = 11;
  constexpr std::size_t kBuckets = std::size_t{1} << kDigitBits;
  if (values.size() < kBuckets) {
    std::sort(values.begin(), values.end());
    return;
  }
  constexpr std::uint64_t kSign = std::uint64_t{1} << 63;
  std::vector<std::uint64_t> keys(values.size());
  std::transform(values.begin(), values.end(), keys.begin(), [](double value) {
    const std::uint64_t bits = std::bit_cast<std::uint64_t>(value);
    return (bits & kSign) != 0 ? ~bits : bits | kSign;  // orders as the numbers do
  });
  std::vector<std::uint64_t> other(keys.size());
  for (std::size_t shift = 0; shift < 64; shift += kDigitBits) {
    std::array<std::size_t, kBuckets> start{};
    for (const std::uint64_t key : keys) {
      ++start[(key >> shift) % kBuckets];
    }
    if (start[(keys[0] >> shift) % kBuckets] == keys.size()) {
      continue;  // all alike in this digit
    }
    std::size_t sum = 0;
    for (std::size_t& count : start) {
      sum += std::exchange(count, sum);
    }
    for (const std::uint64_t key : keys) {
      other[start[(key >> shift) % kBuckets]++] = key;
    }
    keys.swap(other);
  }
  std::transform(keys.begin(), keys.end(), values.begin(), [](std::uint64_t key) {
    return std::bit_cast<double>((key & kSign) != 0 ? key ^ kSign : ~key);
  });
}

/// Fills percentiles from `at(i)`, the i-th smallest value.
template <class At>
void set_percentiles(Metric& metric, At at) {
  for (const auto& [percent, member] : kPercentiles) {
    const double position = percent / 100.0 * static_cast<double>(metric.count - 1);
    const auto low = static_cast<std::int64_t>(position);
    const std::int64_t high = std::min(low + 1, metric.count - 1);
    const double fraction = position - static_cast<double>(low);
    metric.*member = at(low) + fraction * (at(high) - at(low));
  }
}

/// The metric in the unit of the report: values are `per_unit` to one.
void divide(Metric& metric, double per_unit) {
  metric.avg /= per_unit;
  for (const auto& [name, member] : detail::kStatistics) {
    metric.*member /= per_unit;
  }
}

}  // namespace

void detail::set_distribution(Metric& metric, std::vector<double> values, double per_unit) {
  sort_values(values);
  metric.count = static_cast<std::int64_t>(values.size());
  const double count = static_cast<double>(values.size());
  for (const double value : values) {
    metric.sum += value;
  }
  metric.avg = metric.sum / count;
  double squares = 0;
  for (const double value : values) {
    squares += (value - metric.avg) * (value - metric.avg);
  }
  metric.std = std::sqrt(squares / count);
  metric.min = values.front();
  metric.max = values.back();
  set_percentiles(metric, [&](std::int64_t i) { return values[static_cast<std::size_t>(i)]; });
  divide(metric, per_unit);
}

void detail::set_gap_distribution(Metric& metric, std::span<const GapCount> gaps, double per_unit) {
  std::vector<GapCount> sorted(gaps.begin(), gaps.end());
  const auto before = [](const GapCount& a, const GapCount& b) {
    return std::pair(a.gap, a.count) < std::pair(b.gap, b.count);
  };
  if (!std::is_sorted(sorted.begin(), sorted.end(), before)) {  // the simulator's are
    std::sort(sorted.begin(), sorted.end(), before);
  }
  std::erase_if(sorted, [](const GapCount& gap) { return gap.count <= 0; });
  std::vector<std::int64_t> up_to;  // values up to and including each gap
  for (const GapCount& gap : sorted) {
    metric.count += gap.count;
    metric.sum += static_cast<double>(gap.gap.count()) * static_cast<double>(gap.count);
    up_to.push_back(metric.count);
  }
  if (sorted.empty()) {
    return;
  }
  metric.avg = metric.sum / static_cast<double>(metric.count);
  double squares = 0;
  for (const GapCount& gap : sorted) {
    const double off = static_cast<double>(gap.gap.count()) - metric.avg;
    squares += off * off * static_cast<double>(gap.count);
  }
  metric.std = std::sqrt(squares / static_cast<double>(metric.count));
  metric.min = static_cast<double>(sorted.front().gap.count());
  metric.max = static_cast<double>(sorted.back().gap.count());
  set_percentiles(metric, [&](std::int64_t i) {
    const auto found = std::upper_bound(up_to.begin(), up_to.end(), i);
    return static_cast<double>(sorted[static_cast<std::size_t>(found - up_to.begin())].gap.count());
  });
  divide(metric, per_unit);
}

}  // namespace dyn
