#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <unordered_map>

#include "dyn/core/report.h"

namespace dyn {
namespace {

std::int64_t nanos(SimTime time) {
  return time.time_since_epoch().count();
}

/// Writes one request's line.
class LineWriter {
 public:
  explicit LineWriter(std::string& out) : out_(out) {}

  void write(const RequestRecord& record, std::uint32_t turn) {
    const bool completed = record.status == RequestStatus::completed;
    metadata(record, turn);
    out_ += ",\"metrics\":{";
    first_ = true;
    metric("input_sequence_length", record.input_tokens, "tokens");
    if (completed) {
      latencies(record);
    }
    metric("prefix_cached_tokens", record.cached_tokens, "tokens");
    static constexpr const char* kTiers[] = {"host_cached_tokens", "disk_cached_tokens",
                                             "object_cached_tokens"};
    for (std::size_t tier = 0; tier < record.tier_tokens.size(); ++tier) {
      if (record.tier_tokens[tier] > 0) {
        metric(kTiers[tier], record.tier_tokens[tier], "tokens");
      }
    }
    metric("preemptions", record.preemptions, "count");
    out_ += completed ? "},\"error\":null}\n" : "},\"error\":" + error(record.status) + "}\n";
  }

 private:
  void metadata(const RequestRecord& record, std::uint32_t turn) {
    // A request that has no end ends where it was last seen.
    const SimTime end = std::max({record.finished, record.first_token, record.sent});
    fmt::format_to(std::back_inserter(out_),
                   "{{\"metadata\":{{\"session_num\":{},\"x_request_id\":\"{}\","
                   "\"x_correlation_id\":\"{}\",\"conversation_id\":\"{}\",\"turn_index\":{},"
                   "\"request_start_ns\":{},\"request_end_ns\":{},\"worker_id\":\"{}\","
                   "\"prefill_worker_id\":\"{}\",\"record_processor_id\":\"dyn\","
                   "\"benchmark_phase\":\"{}\",\"was_cancelled\":{}}}",
                   record.session, record.id, record.session, record.session, turn,
                   nanos(record.sent), nanos(end), record.worker, record.prefill_worker,
                   record.warmup ? "warmup" : "profiling",
                   record.status == RequestStatus::cancelled);
  }

  void latencies(const RequestRecord& record) {
    metric("output_sequence_length", record.output_tokens, "tokens");
    if (record.first_token != SimTime::min()) {
      millis("time_to_first_token", record.first_token - record.sent);
      if (record.output_tokens > 1) {
        millis("inter_token_latency", record.finished - record.first_token,
               static_cast<double>(record.output_tokens - 1));
      }
    }
    if (record.second_token != SimTime::min()) {
      millis("time_to_second_token", record.second_token - record.first_token);
    }
    millis("request_latency", record.finished - record.sent);
    if (record.first_scheduled != SimTime::min()) {
      millis("queue_time", record.first_scheduled - record.sent);
    }
    if (record.prefill_worker >= 0) {
      millis("kv_transfer_time", record.transfer);
    }
    if (record.kv_load > Duration(0)) {
      millis("kv_load_time", record.kv_load);
    }
  }

  static std::string error(RequestStatus status) {
    switch (status) {
      case RequestStatus::rejected:
        return R"({"code":429,"type":"Rejected","message":"the queues were full"})";
      case RequestStatus::cancelled:
        return R"({"code":499,"type":"RequestCancellationError","message":"cancelled"})";
      case RequestStatus::unfinished:
        return R"({"code":null,"type":"Unfinished","message":"the run ended first"})";
      case RequestStatus::completed:
      case RequestStatus::failed:
        break;
    }
    return R"({"code":500,"type":"Failed","message":"the worker failed"})";
  }

  template <class Value>
  void metric(const char* name, Value value, const char* unit) {
    fmt::format_to(std::back_inserter(out_), "{}\"{}\":{{\"value\":{},\"unit\":\"{}\"}}",
                   first_ ? "" : ",", name, value, unit);
    first_ = false;
  }
  void millis(const char* name, Duration time, double parts = 1) {
    fmt::format_to(std::back_inserter(out_), ",\"{}\":{{\"value\":{:.6f},\"unit\":\"ms\"}}", name,
                   to_millis(time) / parts);
  }

  std::string& out_;
  bool first_ = true;
};

}  // namespace

std::string to_request_export(std::span<const RequestRecord> records) {
  std::unordered_map<std::uint32_t, std::uint32_t> turns;  // looked up only, never iterated
  std::string text;
  LineWriter writer(text);
  for (const RequestRecord& record : records) {
    writer.write(record, turns[record.session]++);
  }
  return text;
}

}  // namespace dyn
