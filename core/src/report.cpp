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
    {"image_encode_time", "Image Encode Time", "ms"},
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
    {"cost_per_million_tokens", "Cost Per Million Tokens", "USD"},
    {"gpu_energy", "GPU Energy", "kJ"},
    {"gpu_power", "Power Per GPU", "W"},
    {"energy_per_output_token", "Energy Per Output Token", "J"},
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
  std::vector<double> ttft, ttst, latency, itl, per_user, output, input, queue, transfer, load,
      encode;
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
    if (record.encode > Duration(0)) {
      encode.push_back(nanos(record.encode));
    }
  }
};

/// Of all classes, or of one.
Gathered gather(std::span<const RequestRecord> records, const RequestLimits& limits,
                std::optional<std::size_t> only) {
  Gathered result;
  for (auto* values : {&result.ttft, &result.ttst, &result.latency, &result.itl, &result.per_user,
                       &result.output, &result.input, &result.queue}) {
    values->reserve(only ? 0 : records.size());
  }
  for (const RequestRecord& record : records) {
    if (record.warmup || (only && record.request_class != *only)) {
      continue;
    }
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
      metrics_.push_back(std::move(metric));
    }
  }
  void gaps(std::span<const GapCount> gaps) {
    Metric metric = named("inter_chunk_latency");
    detail::set_gap_distribution(metric, gaps, kNanosPerMilli);
    if (metric.count > 0) {
      metrics_.push_back(std::move(metric));
    }
  }
  void value(std::string_view tag, double number) {
    Metric metric = named(tag);
    metric.avg = number;
    metrics_.push_back(std::move(metric));
  }
  std::vector<Metric> take() { return std::move(metrics_); }

 private:
  std::vector<Metric> metrics_;
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

bool meets(const RequestRecord& record, const Slo& slo) {
  return RequestLimits(slo).met_by(record);
}

namespace {

/// The figures of what was gathered, over `seconds`.
std::vector<Metric> figures(Gathered all, bool has_slo, std::span<const GapCount> gaps,
                            std::span<const TierBytes> tiers, double seconds, int gpus) {
  const auto per_second = [seconds](double amount) { return seconds > 0 ? amount / seconds : 0.0; };
  const double output_tokens = static_cast<double>(all.output_tokens);
  ReportBuilder builder;
  builder.values("time_to_first_token", std::move(all.ttft), kNanosPerMilli);
  builder.values("time_to_second_token", std::move(all.ttst), kNanosPerMilli);
  builder.values("request_latency", std::move(all.latency), kNanosPerMilli);
  builder.values("inter_token_latency", std::move(all.itl), kNanosPerMilli);
  builder.gaps(gaps);
  builder.values("output_token_throughput_per_user", std::move(all.per_user), 1);
  builder.values("output_sequence_length", std::move(all.output), 1);
  builder.values("input_sequence_length", std::move(all.input), 1);
  builder.value("output_token_throughput", per_second(output_tokens));
  builder.value("request_throughput", per_second(static_cast<double>(all.completed)));
  if (has_slo) {
    builder.value("goodput", per_second(static_cast<double>(all.good)));
  }
  builder.value("request_count", static_cast<double>(all.completed));
  if (has_slo) {
    builder.value("good_request_count", static_cast<double>(all.good));
  }
  builder.value("error_request_count", static_cast<double>(all.errors));
  builder.value("total_isl", static_cast<double>(all.input_tokens));
  builder.value("total_osl", output_tokens);
  builder.value("benchmark_duration", seconds);
  builder.values("queue_time", std::move(all.queue), kNanosPerMilli);
  builder.values("kv_transfer_time", std::move(all.transfer), kNanosPerMilli);
  builder.values("kv_load_time", std::move(all.load), kNanosPerMilli);
  builder.values("image_encode_time", std::move(all.encode), kNanosPerMilli);
  if (all.input_tokens > 0) {
    const auto share = [&](std::int64_t tokens) {
      return static_cast<double>(tokens) / static_cast<double>(all.input_tokens);
    };
    builder.value("prefix_cache_hit_rate", share(all.cached_tokens));
    for (const TierBytes& tier : tiers) {
      builder.value("prefix_cache_hit_rate_" + std::string(kTiers[tier.tier]),
                    share(all.tier_tokens[tier.tier]));
    }
  }
  for (const TierBytes& tier : tiers) {
    const std::string name(kTiers[tier.tier]);
    builder.value("kv_read_" + name, static_cast<double>(tier.read.count()));
    builder.value("kv_written_" + name, static_cast<double>(tier.written.count()));
  }
  builder.value("preemptions", static_cast<double>(all.preemptions));
  if (gpus > 0) {
    builder.value("output_token_throughput_per_gpu", per_second(output_tokens) / gpus);
  }
  return builder.take();
}

}  // namespace

Report make_report(std::span<const RequestRecord> records, const ReportOptions& options) {
  Gathered all = gather(records, RequestLimits(options.slo), std::nullopt);
  const double seconds = all.completed > 0 ? to_seconds(all.last_token - all.first_sent) : 0.0;
  Report report;
  bool has_slo = !options.slo.empty();
  all.good = options.classes.empty() ? all.good : 0;
  for (std::size_t i = 0; i < options.classes.size(); ++i) {
    const ReportClass& one = options.classes[i];
    const Slo& slo = one.slo.empty() ? options.slo : one.slo;
    Gathered part = gather(records, RequestLimits(slo), i);
    all.good += part.good;
    has_slo = has_slo || !slo.empty();
    report.classes.push_back(
        {one.name, figures(std::move(part), !slo.empty(), {}, {}, seconds, 0)});
  }
  report.metrics =
      figures(std::move(all), has_slo, options.gaps, options.tiers, seconds, options.gpus);
  if (options.gpus > 0) {
    add_costs(report, options.gpus, options.price_per_gpu);
  }
  return report;
}

void add_costs(Report& report, int gpus, std::optional<DollarsPerHour> price_per_gpu) {
  const auto sum = [&](const char* tag) {
    const Metric* metric = report.find(tag);
    return metric != nullptr ? metric->avg : 0.0;
  };
  const double output = sum("total_osl");
  const double seconds = sum("benchmark_duration");
  const auto add = [&](const char* tag, double value) -> Metric& {
    Metric metric = named(tag);
    metric.avg = value;
    return report.metrics.emplace_back(std::move(metric));
  };
  if (price_per_gpu && output > 0) {
    const double dollars = price_per_gpu->count() * gpus * (seconds / 3600.0);
    const Metric* throughput = report.find("output_token_throughput");
    const std::optional<Estimate> rate =
        throughput != nullptr ? throughput->interval : std::nullopt;
    const auto add_cost = [&](const char* tag, double cost) {
      std::optional<Estimate>& interval = add(tag, cost).interval;
      if (rate && rate->low > 0) {
        // A GPU hour costs the same however much comes out of it.
        interval = Estimate{cost, cost * rate->value / rate->high, cost * rate->value / rate->low,
                            rate->provenance};
      }
    };
    add_cost("cost_per_million_output_tokens", dollars / (output / 1e6));
    add_cost("cost_per_million_tokens", dollars / ((output + sum("total_isl")) / 1e6));
  }
  if (report.energy && seconds > 0 && output > 0) {
    const auto add_energy = [&](const char* tag, double joules_per_unit) {
      Estimate estimate = *report.energy;
      estimate.value /= joules_per_unit;
      estimate.low /= joules_per_unit;
      estimate.high /= joules_per_unit;
      add(tag, estimate.value).interval = estimate;
    };
    add_energy("gpu_energy", 1e3);
    add_energy("gpu_power", seconds * gpus);
    add_energy("energy_per_output_token", output);
  }
}

}  // namespace dyn
