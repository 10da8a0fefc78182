#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dyn/core/provenance.h"
#include "dyn/core/quantity.h"
#include "dyn/core/slo.h"

namespace dyn {

class Document;

enum class RequestStatus : std::uint8_t { completed, rejected, failed, cancelled, unfinished };

/// What happened to one request, simulated or served. Times are since the start of the run;
/// those that did not happen are SimTime::min().
struct RequestRecord {
  std::uint64_t id = 0;
  RequestStatus status = RequestStatus::completed;
  bool warmup = false;                       ///< sent before the run that is measured
  std::uint16_t request_class = 0;           ///< into ReportOptions::classes
  std::uint32_t session = 0;                 ///< of which it is a turn
  SimTime sent = SimTime::min();             ///< the client's send, or the trace's arrival
  SimTime first_scheduled = SimTime::min();  ///< first time in a batch
  SimTime first_token = SimTime::min();
  SimTime second_token = SimTime::min();
  SimTime finished = SimTime::min();  ///< last token
  Duration transfer{0};               ///< KV transfer, waiting for the link included
  Duration encode{0};  ///< of images at an encode worker, and their embeddings' way from there
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t cached_tokens = 0;  ///< found in a cache at first admission
  /// Of these, brought back from other tiers than the device: host memory, disk, object store.
  std::array<std::uint32_t, 3> tier_tokens{};
  Duration kv_load{0};               ///< waited for them, before the first admission
  std::int32_t prefill_worker = -1;  ///< -1: none
  std::int32_t worker = -1;
  std::int32_t preemptions = 0;
  std::int32_t migrations = 0;  ///< moves to another worker
  std::int32_t attempts = 1;    ///< of its client; `sent` is the first
};

/// A metric over requests, in AIPerf's form. Percentiles interpolate linearly between order
/// statistics, as numpy's default does; `std` is the population's.
struct Metric {
  std::string tag;     ///< AIPerf's name, such as time_to_first_token
  std::string header;  ///< for people, such as Time to First Token
  std::string unit;    ///< ms, tokens, requests/sec, tokens/sec, ...
  double avg = 0;
  std::int64_t count = 0;  ///< 0 for a derived metric, which has only `avg`
  double min = 0, max = 0, p1 = 0, p5 = 0, p10 = 0, p25 = 0, p50 = 0, p75 = 0, p90 = 0, p95 = 0,
         p99 = 0, std = 0;
  double sum = 0;                    ///< of all values; 0 for a derived metric
  std::optional<Estimate> interval;  ///< of `avg`, where the run is a prediction

  /// Value by name: avg, min, max, p1 ... p99, std, sum; a derived metric has only avg.
  std::optional<double> statistic(const std::string& name) const;
};

/// The figures of the requests of one class.
struct ClassReport {
  std::string name;
  std::vector<Metric> metrics;  ///< latencies, throughput and goodput
};

/// The figures of a run (schema dyn.report/1). Definitions are AIPerf's: TTFT from the send to
/// the first token; time_to_second_token from the first to the second; ITL = (E2E - TTFT) /
/// (output tokens - 1) per request with two or more output tokens; inter_chunk_latency is the gap
/// between neighbouring tokens; output_token_throughput_per_user = 1 / ITL; benchmark_duration
/// runs from the first send to the last token, and throughputs are per second of it; goodput
/// counts requests that meet every SLO (one without an ITL does not meet a target on it).
///
/// Beyond AIPerf's: queue_time, from the send to the first batch that the request is in;
/// kv_transfer_time, of requests that were prefilled by another worker; prefix_cache_hit_rate,
/// prompt tokens found in a cache at first admission / prompt tokens, and of these what each tier
/// below the device had (prefix_cache_hit_rate_host, _disk, _object); kv_load_time, of requests
/// that waited for a tier; kv_read_..., kv_written_..., bytes from and into each tier, transfers
/// that ended after the last request included; preemptions, in all; where engines have LoRA slots
/// adapter_hit_rate, requests that entered a batch and found their adapter in the device / those
/// with one, adapter_host_loads and adapter_storage_loads, the others by where it came from, and
/// adapter_load_time, by which steps were longer, in all;
/// output_token_throughput_per_gpu; cost_per_million_output_tokens and cost_per_million_tokens, of
/// all GPUs for the duration; gpu_energy, gpu_power (of one GPU) and energy_per_output_token.
struct Report {
  std::vector<Metric> metrics;       ///< fixed order
  std::uint64_t fingerprint = 0;     ///< hash of the simulated events; 0 for a served run
  std::vector<ClassReport> classes;  ///< where the load is a mix
  std::optional<Estimate> energy;    ///< J of all GPUs for the duration; for add_costs

  const Metric* find(const std::string& tag) const;
};

/// Inter-chunk gaps as (gap, how often), since a run has one per token.
struct GapCount {
  Duration gap{0};
  std::int64_t count = 0;
};

/// A class of requests; those of class i have `request_class` i.
struct ReportClass {
  std::string name;
  Slo slo;  ///< empty: the report's
};

/// What a run moved from and into one tier.
struct TierBytes {
  std::size_t tier = 0;  ///< index among host memory, disk, object store
  Bytes read{0};
  Bytes written{0};
};

struct ReportOptions {
  Slo slo;
  std::span<const ReportClass> classes;         ///< empty: the load is of one kind
  int gpus = 0;                                 ///< for per-GPU throughput; 0: left out
  std::optional<DollarsPerHour> price_per_gpu;  ///< for cost per million output tokens
  std::span<const GapCount> gaps;
  std::vector<TierBytes> tiers;  ///< those that the engines have, in order
};

/// Whether a completed request meets every target, each taken as a limit for one request.
bool meets(const RequestRecord& record, const Slo& slo);

/// The figures of the records; those of a warm-up do not count. Only completed requests count
/// towards latencies; the others are counted in error_request_count.
Report make_report(std::span<const RequestRecord> records, const ReportOptions& options);

/// Adds what the run costs, in money where there is a price and in energy where that is known.
void add_costs(Report& report, int gpus, std::optional<DollarsPerHour> price_per_gpu);

/// The layout of AIPerf's profile_export_aiperf.json (its schema 1.4, of AIPerf 0.13): one object
/// per metric at top level. Byte-identical for equal reports.
std::string to_json(const Report& report);

/// Reads what to_json wrote, and AIPerf's own exports: every top-level object with a unit is a
/// metric, all else is left aside. Throws Error(bad_input) for a metric that is none, another
/// schema, or a document without metrics.
Report parse_report(const Document& document);

/// AIPerf's profile_export.jsonl (MetricRecordInfo of AIPerf 0.13): one object a line and request,
/// with metadata, metrics in ms and tokens, and error. Times are since the start of the run; a
/// warm-up's requests have the phase warmup. Beyond AIPerf's: the prefill worker, queue and
/// transfer times, cached tokens (with those of other tiers than the device), preemptions.
std::string to_request_export(std::span<const RequestRecord> records);

/// AIPerf's CSV layout: metrics with a distribution, an empty line, the others; two decimals.
std::string to_csv(const Report& report);

}  // namespace dyn
