#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>
#include <unordered_map>

#include "dyn/core/request_export.h"

namespace dyn {
namespace {

std::int64_t nanos(SimTime time) {
  return time.time_since_epoch().count();
}

constexpr std::size_t kPiece = 256 * 1024;  ///< bytes

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
    put("{\"metadata\":{\"session_num\":", record.session);
    put(",\"x_request_id\":\"", record.id);
    put("\",\"x_correlation_id\":\"", record.session);
    put("\",\"conversation_id\":\"", record.session);
    put("\",\"turn_index\":", turn);
    put(",\"request_start_ns\":", nanos(record.sent));
    put(",\"request_end_ns\":", nanos(end));
    put(",\"worker_id\":\"", record.worker);
    put("\",\"prefill_worker_id\":\"", record.prefill_worker);
    put("\",\"record_processor_id\":\"dyn\",\"benchmark_phase\":\"");
    put(record.warmup ? "warmup" : "profiling");
    put(record.status == RequestStatus::cancelled ? "\",\"was_cancelled\":true}"
                                                  : "\",\"was_cancelled\":false}");
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
    if (record.encode > Duration(0)) {
      millis("image_encode_time", record.encode);
    }
  }

  static std::string error(RequestStatus status) {
    switch (status) {
      case RequestStatus::rejected:
        return R"({"code":429,"type":"Rejected","message":"no worker took it"})";
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

  void metric(std::string_view name, std::int64_t value, std::string_view unit) {
    begin(name);
    put("", value);
    finish(unit);
  }
  void millis(std::string_view name, Duration time) {
    begin(name);
    // Milliseconds with six decimals are nanoseconds.
    const std::int64_t size = std::abs(time.count());
    put(time.count() < 0 ? "-" : "", size / 1'000'000);
    char decimals[7] = {'.'};
    std::int64_t rest = size % 1'000'000;
    for (int i = 6; i > 0; --i, rest /= 10) {
      decimals[i] = static_cast<char>('0' + rest % 10);
    }
    put({decimals, sizeof decimals});
    finish("ms");
  }
  void millis(std::string_view name, Duration time, double parts) {
    begin(name);
    char digits[350];  // of the largest double
    const auto [end, error] = std::to_chars(digits, digits + sizeof digits, to_millis(time) / parts,
                                            std::chars_format::fixed, 6);
    put({digits, static_cast<std::size_t>(end - digits)});
    finish("ms");
  }

  void begin(std::string_view name) {
    put(first_ ? "\"" : ",\"");
    put(name);
    put("\":{\"value\":");
    first_ = false;
  }
  void finish(std::string_view unit) {
    put(",\"unit\":\"");
    put(unit);
    put("\"}");
  }
  void put(std::string_view text) { out_.append(text); }
  template <class Integer>
  void put(std::string_view text, Integer number) {
    out_.append(text);
    char digits[24];
    const auto [end, error] = std::to_chars(digits, digits + sizeof digits, number);
    out_.append(digits, static_cast<std::size_t>(end - digits));
  }

  std::string& out_;
  bool first_ = true;
};

}  // namespace

void write_request_export(std::span<const RequestRecord> records,
                          const std::function<void(std::string_view)>& sink) {
  std::unordered_map<std::uint32_t, std::uint32_t> turns;  // looked up only, never iterated
  std::string text;
  text.reserve(kPiece + kPiece / 8);
  LineWriter writer(text);
  for (const RequestRecord& record : records) {
    writer.write(record, turns[record.session]++);
    if (text.size() >= kPiece) {
      sink(text);
      text.clear();
    }
  }
  sink(text);
}

std::string to_request_export(std::span<const RequestRecord> records) {
  std::string text;
  write_request_export(records, [&](std::string_view piece) { text += piece; });
  return text;
}

}  // namespace dyn
