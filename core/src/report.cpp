#include "dyn/core/report.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <utility>

#include "dyn/core/check.h"
#include "report_metrics.h"

namespace dyn {
namespace {

using detail::MetricInfo;

constexpr MetricInfo kInfos[] = {
    {"time_to_first_token", "Time to First Token", "ms"},
    {"time_to_second_token", "Time to Second Token", "ms"},
    {"request_latency", "Request Latency", "ms"},
    {"inter_token_latency", "Inter Token Latency", "ms"},
    {"inter_chunk_latency", "Inter Chunk Latency", "ms"},
    {"output_token_throughput_per_user", "Output Token Throughput Per User", "tokens/sec/user"},
    {"output_sequence_length", "Output Sequence Length", "tokens"},
    {"input_sequence_length", "Input Sequence Length", "tokens"},
    {"output_token_throughput", "Output Token Throughput", "tokens/sec"},
    {"request_throughput", "Request Throughput", "requests/sec"},
    {"goodput", "Goodput", "requests/sec"},
    {"request_count", "Request Count", "requests"},
    {"good_request_count", "Good Request Count", "requests"},
    {"error_request_count", "Error Request Count", "requests"},
    {"total_isl", "Total Input Sequence Length", "tokens"},
    {"total_osl", "Total Output Sequence Length", "tokens"},
    {"benchmark_duration", "Benchmark Duration", "sec"},
    {"queue_time", "Queue Time", "ms"},
    {"kv_transfer_time", "KV Transfer Time", "ms"},
    {"prefix_cache_hit_rate", "Prefix Cache Hit Rate", "ratio"},
    {"preemptions", "Preemptions", "count"},
    {"output_token_throughput_per_gpu", "Output Token Throughput Per GPU", "tokens/sec/gpu"},
    {"cost_per_million_output_tokens", "Cost Per Million Output Tokens", "USD"},
};

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

Metric named(std::string_view tag) {
  for (const MetricInfo& info : kInfos) {
    if (info.tag == tag) {
      Metric metric;
      metric.tag = info.tag;
      metric.header = info.header;
      metric.unit = info.unit;
      return metric;
    }
  }
  DYN_ASSERT(false, "every metric of a report is in the table");
}

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

constexpr double kNanosPerMilli = 1e6;

/// A distribution. Sums run over sorted values, so that the order of the records does not matter.
Metric distribution(std::string_view tag, std::vector<double> values, double per_unit) {
  Metric metric = named(tag);
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
  return metric;
}

/// The same of values that come with how often they occur.
Metric gap_distribution(std::span<const GapCount> gaps) {
  std::vector<GapCount> sorted(gaps.begin(), gaps.end());
  std::sort(sorted.begin(), sorted.end(), [](const GapCount& a, const GapCount& b) {
    return std::pair(a.gap, a.count) < std::pair(b.gap, b.count);
  });
  std::erase_if(sorted, [](const GapCount& gap) { return gap.count <= 0; });
  Metric metric = named("inter_chunk_latency");
  std::vector<std::int64_t> up_to;  // values up to and including each gap
  for (const GapCount& gap : sorted) {
    metric.count += gap.count;
    metric.sum += static_cast<double>(gap.gap.count()) * static_cast<double>(gap.count);
    up_to.push_back(metric.count);
  }
  if (sorted.empty()) {
    return metric;
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
  divide(metric, kNanosPerMilli);
  return metric;
}

/// The tightest limit on each metric of one request.
struct RequestLimits {
  std::optional<Duration> ttft, itl, e2e;

  explicit RequestLimits(const Slo& slo) {
    for (const Slo::Target& target : slo.targets()) {
      std::optional<Duration>& limit = target.metric == "time_to_first_token"   ? ttft
                                       : target.metric == "inter_token_latency" ? itl
                                                                                : e2e;
      limit = limit ? std::min(*limit, target.limit) : target.limit;
    }
  }

  bool met_by(const RequestRecord& record) const {
    if (ttft && record.first_token - record.sent > *ttft) {
      return false;
    }
    if (e2e && record.finished - record.sent > *e2e) {
      return false;
    }
    if (itl) {
      const std::int64_t gaps = record.output_tokens - 1;
      return gaps >= 1 && record.finished - record.first_token <= *itl * gaps;
    }
    return true;
  }
};

/// What one pass over the records gathers. Times in nanoseconds.
struct Gathered {
  std::vector<double> ttft, ttst, latency, itl, per_user, output, input, queue, transfer;
  std::int64_t completed = 0, errors = 0, good = 0, preemptions = 0;
  std::int64_t input_tokens = 0, output_tokens = 0, cached_tokens = 0;
  SimTime first_sent = SimTime::max();
  SimTime last_token = SimTime::min();

  void add(const RequestRecord& record, const RequestLimits& limits) {
    const auto nanos = [](Duration d) { return static_cast<double>(d.count()); };
    ++completed;
    good += limits.met_by(record) ? 1 : 0;
    input_tokens += record.input_tokens;
    output_tokens += record.output_tokens;
    cached_tokens += record.cached_tokens;
    first_sent = std::min(first_sent, record.sent);
    last_token = std::max(last_token, record.finished);
    latency.push_back(nanos(record.finished - record.sent));
    input.push_back(static_cast<double>(record.input_tokens));
    output.push_back(static_cast<double>(record.output_tokens));
    if (record.first_token != SimTime::min()) {
      ttft.push_back(nanos(record.first_token - record.sent));
    }
    if (record.second_token != SimTime::min()) {
      ttst.push_back(nanos(record.second_token - record.first_token));
    }
    if (record.output_tokens >= 2 && record.first_token != SimTime::min()) {
      const double gap = nanos(record.finished - record.first_token) /
                         static_cast<double>(record.output_tokens - 1);
      itl.push_back(gap);
      if (gap > 0) {
        per_user.push_back(1e9 / gap);
      }
    }
    if (record.first_scheduled != SimTime::min()) {
      queue.push_back(nanos(record.first_scheduled - record.sent));
    }
    if (record.prefill_worker >= 0 || record.transfer > Duration(0)) {
      transfer.push_back(nanos(record.transfer));
    }
  }
};

Gathered gather(std::span<const RequestRecord> records, const RequestLimits& limits) {
  Gathered result;
  for (auto* values : {&result.ttft, &result.ttst, &result.latency, &result.itl, &result.per_user,
                       &result.output, &result.input, &result.queue}) {
    values->reserve(records.size());
  }
  for (const RequestRecord& record : records) {
    result.preemptions += record.preemptions;
    if (record.status == RequestStatus::completed) {
      result.add(record, limits);
    } else {
      ++result.errors;
    }
  }
  return result;
}

/// Appends metrics in the order of the calls, which is that of kInfos.
class ReportBuilder {
 public:
  void values(std::string_view tag, std::vector<double> numbers, double per_unit) {
    if (!numbers.empty()) {
      report_.metrics.push_back(distribution(tag, std::move(numbers), per_unit));
    }
  }
  void gaps(std::span<const GapCount> gaps) {
    Metric metric = gap_distribution(gaps);
    if (metric.count > 0) {
      report_.metrics.push_back(std::move(metric));
    }
  }
  void value(std::string_view tag, double number) {
    Metric metric = named(tag);
    metric.avg = number;
    report_.metrics.push_back(std::move(metric));
  }
  Report take() { return std::move(report_); }

 private:
  Report report_;
};

}  // namespace

std::span<const MetricInfo> detail::metric_infos() {
  return kInfos;
}

std::optional<double> Metric::statistic(const std::string& name) const {
  if (name == "avg") {
    return avg;
  }
  if (count > 0) {
    for (const auto& [known, member] : detail::kStatistics) {
      if (name == known) {
        return this->*member;
      }
    }
  }
  return std::nullopt;
}

const Metric* Report::find(const std::string& tag) const {
  const auto found = std::find_if(metrics.begin(), metrics.end(),
                                  [&](const Metric& metric) { return metric.tag == tag; });
  return found == metrics.end() ? nullptr : &*found;
}

Report make_report(std::span<const RequestRecord> records, const ReportOptions& options) {
  Gathered all = gather(records, RequestLimits(options.slo));
  const double seconds = all.completed > 0 ? to_seconds(all.last_token - all.first_sent) : 0.0;
  const auto per_second = [seconds](double amount) { return seconds > 0 ? amount / seconds : 0.0; };
  const double output_tokens = static_cast<double>(all.output_tokens);

  ReportBuilder builder;
  builder.values("time_to_first_token", std::move(all.ttft), kNanosPerMilli);
  builder.values("time_to_second_token", std::move(all.ttst), kNanosPerMilli);
  builder.values("request_latency", std::move(all.latency), kNanosPerMilli);
  builder.values("inter_token_latency", std::move(all.itl), kNanosPerMilli);
  builder.gaps(options.gaps);
  builder.values("output_token_throughput_per_user", std::move(all.per_user), 1);
  builder.values("output_sequence_length", std::move(all.output), 1);
  builder.values("input_sequence_length", std::move(all.input), 1);
  builder.value("output_token_throughput", per_second(output_tokens));
  builder.value("request_throughput", per_second(static_cast<double>(all.completed)));
  if (!options.slo.empty()) {
    builder.value("goodput", per_second(static_cast<double>(all.good)));
  }
  builder.value("request_count", static_cast<double>(all.completed));
  if (!options.slo.empty()) {
    builder.value("good_request_count", static_cast<double>(all.good));
  }
  builder.value("error_request_count", static_cast<double>(all.errors));
  builder.value("total_isl", static_cast<double>(all.input_tokens));
  builder.value("total_osl", output_tokens);
  builder.value("benchmark_duration", seconds);
  builder.values("queue_time", std::move(all.queue), kNanosPerMilli);
  builder.values("kv_transfer_time", std::move(all.transfer), kNanosPerMilli);
  if (all.input_tokens > 0) {
    builder.value("prefix_cache_hit_rate",
                  static_cast<double>(all.cached_tokens) / static_cast<double>(all.input_tokens));
  }
  builder.value("preemptions", static_cast<double>(all.preemptions));
  if (options.gpus > 0) {
    builder.value("output_token_throughput_per_gpu", per_second(output_tokens) / options.gpus);
    if (options.price_per_gpu && all.output_tokens > 0) {
      const double dollars = options.price_per_gpu->count() * options.gpus * (seconds / 3600.0);
      builder.value("cost_per_million_output_tokens", dollars / (output_tokens / 1e6));
    }
  }
  return builder.take();
}

}  // namespace dyn
