#include "dyn/core/report.h"

#include <algorithm>
#include <array>
#include <string>
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
    {"kv_load_time", "KV Load Time", "ms"},
    {"prefix_cache_hit_rate", "Prefix Cache Hit Rate", "ratio"},
    {"prefix_cache_hit_rate_host", "Prefix Cache Hit Rate, Host Memory", "ratio"},
    {"prefix_cache_hit_rate_disk", "Prefix Cache Hit Rate, Disk", "ratio"},
    {"prefix_cache_hit_rate_object", "Prefix Cache Hit Rate, Object Store", "ratio"},
    {"kv_read_host", "KV Read from Host Memory", "bytes"},
    {"kv_written_host", "KV Written to Host Memory", "bytes"},
    {"kv_read_disk", "KV Read from Disk", "bytes"},
    {"kv_written_disk", "KV Written to Disk", "bytes"},
    {"kv_read_object", "KV Read from Object Store", "bytes"},
    {"kv_written_object", "KV Written to Object Store", "bytes"},
    {"preemptions", "Preemptions", "count"},
    {"output_token_throughput_per_gpu", "Output Token Throughput Per GPU", "tokens/sec/gpu"},
    {"cost_per_million_output_tokens", "Cost Per Million Output Tokens", "USD"},
};

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

constexpr double kNanosPerMilli = 1e6;
constexpr std::array<std::string_view, 3> kTiers = {"host", "disk", "object"};

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
  std::vector<double> ttft, ttst, latency, itl, per_user, output, input, queue, transfer, load;
  std::int64_t completed = 0, errors = 0, good = 0, preemptions = 0;
  std::int64_t input_tokens = 0, output_tokens = 0, cached_tokens = 0;
  std::array<std::int64_t, kTiers.size()> tier_tokens{};
  SimTime first_sent = SimTime::max();
  SimTime last_token = SimTime::min();

  void add(const RequestRecord& record, const RequestLimits& limits) {
    const auto nanos = [](Duration d) { return static_cast<double>(d.count()); };
    ++completed;
    good += limits.met_by(record) ? 1 : 0;
    input_tokens += record.input_tokens;
    output_tokens += record.output_tokens;
    cached_tokens += record.cached_tokens;
    for (std::size_t tier = 0; tier < tier_tokens.size(); ++tier) {
      tier_tokens[tier] += record.tier_tokens[tier];
    }
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
    if (record.kv_load > Duration(0)) {
      load.push_back(nanos(record.kv_load));
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
      Metric metric = named(tag);
      detail::set_distribution(metric, std::move(numbers), per_unit);
      report_.metrics.push_back(std::move(metric));
    }
  }
  void gaps(std::span<const GapCount> gaps) {
    Metric metric = named("inter_chunk_latency");
    detail::set_gap_distribution(metric, gaps, kNanosPerMilli);
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
  builder.values("kv_load_time", std::move(all.load), kNanosPerMilli);
  if (all.input_tokens > 0) {
    const auto share = [&](std::int64_t tokens) {
      return static_cast<double>(tokens) / static_cast<double>(all.input_tokens);
    };
    builder.value("prefix_cache_hit_rate", share(all.cached_tokens));
    for (const TierBytes& tier : options.tiers) {
      builder.value("prefix_cache_hit_rate_" + std::string(kTiers[tier.tier]),
                    share(all.tier_tokens[tier.tier]));
    }
  }
  for (const TierBytes& tier : options.tiers) {
    const std::string name(kTiers[tier.tier]);
    builder.value("kv_read_" + name, static_cast<double>(tier.read.count()));
    builder.value("kv_written_" + name, static_cast<double>(tier.written.count()));
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
