#include <algorithm>
#include <array>
#include <charconv>
#include <concepts>
#include <cstdlib>
#include <cstring>
#include <future>
#include <limits>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dyn/core/request_export.h"

namespace dyn {
namespace {

std::int64_t nanos(SimTime time) {
  return time.time_since_epoch().count();
}

constexpr std::size_t kPieceRecords = 512;  ///< lines of a piece
constexpr std::size_t kLongestLine = 4096;  ///< bytes; all its numbers and texts are bounded

/// Writes requests' lines, one after another, into memory that has kLongestLine for each.
class LineWriter {
 public:
  explicit LineWriter(char* at) : at_(at) {}

  /// Behind the last line.
  const char* end() const { return at_; }

  void write(const RequestRecord& record, std::uint32_t turn) {
    const bool completed = record.status == RequestStatus::completed;
    metadata(record, turn);
    put(",\"metrics\":{\"input_sequence_length\":{\"value\":");
    put(record.input_tokens);
    put(",\"unit\":\"tokens\"}");
    if (completed) {
      latencies(record);
    }
    metric("prefix_cached_tokens", record.cached_tokens, "tokens");
    tier_tokens(record);
    metric("preemptions", record.preemptions, "count");
    if (completed) {
      put("},\"error\":null}\n");
    } else {
      put("},\"error\":");
      put_text(error(record.status));
      put("}\n");
    }
  }

 private:
  void metadata(const RequestRecord& record, std::uint32_t turn) {
    // A request that has no end ends where it was last seen.
    const SimTime end = std::max({record.finished, record.first_token, record.sent});
    put("{\"metadata\":{\"session_num\":");
    put(record.session);
    put(",\"x_request_id\":\"");
    put(record.id);
    put("\",\"x_correlation_id\":\"");
    put(record.session);
    put("\",\"conversation_id\":\"");
    put(record.session);
    put("\",\"turn_index\":");
    put(turn);
    put(",\"request_start_ns\":");
    put(nanos(record.sent));
    put(",\"request_end_ns\":");
    put(nanos(end));
    put(",\"worker_id\":\"");
    put(record.worker);
    put("\",\"prefill_worker_id\":\"");
    put(record.prefill_worker);
    put("\",\"record_processor_id\":\"dyn\",\"benchmark_phase\":\"");
    put_text(record.warmup ? "warmup" : "profiling");
    put_text(record.status == RequestStatus::cancelled ? "\",\"was_cancelled\":true}"
                                                       : "\",\"was_cancelled\":false}");
  }

  void latencies(const RequestRecord& record) {
    metric("output_sequence_length", record.output_tokens, "tokens");
    if (record.first_token != SimTime::min()) {
      millis("time_to_first_token", record.first_token - record.sent);
      if (const std::int64_t gaps = record.output_tokens - 1; gaps > 0) {
        // The nearest nanosecond.
        const std::int64_t all = nanos(record.finished) - nanos(record.first_token);
        millis("inter_token_latency", Duration((2 * all + gaps) / (2 * gaps)));
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

  void tier_tokens(const RequestRecord& record) {
    const auto& [host, disk, object] = record.tier_tokens;
    if (host > 0) {
      metric("host_cached_tokens", host, "tokens");
    }
    if (disk > 0) {
      metric("disk_cached_tokens", disk, "tokens");
    }
    if (object > 0) {
      metric("object_cached_tokens", object, "tokens");
    }
  }

  static std::string_view error(RequestStatus status) {
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

  template <std::size_t Name, std::size_t Unit>
  void metric(const char (&name)[Name], std::int64_t value, const char (&unit)[Unit]) {
    begin(name);
    put(value);
    put(",\"unit\":\"");
    put(unit);
    put("\"}");
  }
  /// Milliseconds with six decimals, which are nanoseconds.
  template <std::size_t Name>
  void millis(const char (&name)[Name], Duration time) {
    begin(name);
    if (time.count() < 0) {
      put("-");
    }
    const std::int64_t size = std::abs(time.count());
    put(size / 1'000'000);
    char* const point = at_;
    put(1'000'000 + size % 1'000'000);
    *point = '.';  // for the 1 that keeps the zeros behind it
    put(",\"unit\":\"ms\"}");
  }
  template <std::size_t Name>
  void begin(const char (&name)[Name]) {
    put(",\"");
    put(name);
    put("\":{\"value\":");
  }

  template <std::size_t Size>
  void put(const char (&literal)[Size]) {
    std::memcpy(at_, literal, Size - 1);
    at_ += Size - 1;
  }
  void put_text(std::string_view text) {
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  template <std::integral Integer>
  void put(Integer number) {
    at_ = std::to_chars(at_, at_ + std::numeric_limits<Integer>::digits10 + 2, number).ptr;
  }

  char* at_;
};

/// Which of its session each request is; empty where each has one of its own.
std::vector<std::uint32_t> turns_of(std::span<const RequestRecord> records) {
  const auto not_new = [](const RequestRecord& a, const RequestRecord& b) {
    return b.session <= a.session;
  };
  std::vector<std::uint32_t> turns;
  if (std::adjacent_find(records.begin(), records.end(), not_new) != records.end()) {
    turns.reserve(records.size());
    std::unordered_map<std::uint32_t, std::uint32_t> next;  // looked up only, never iterated
    for (const RequestRecord& record : records) {
      turns.push_back(next[record.session]++);
    }
  }
  return turns;
}

/// One piece of the text at a time.
class Piece {
 public:
  explicit Piece(std::size_t records) : memory_(new char[records * kLongestLine]) {}

  void write(std::span<const RequestRecord> records, std::span<const std::uint32_t> turns) {
    LineWriter writer(memory_.get());
    for (std::size_t i = 0; i < records.size(); ++i) {
      writer.write(records[i], turns.empty() ? 0 : turns[i]);
    }
    text_ = {memory_.get(), static_cast<std::size_t>(writer.end() - memory_.get())};
  }
  std::string_view text() const { return text_; }

 private:
  std::unique_ptr<char[]> memory_;
  std::string_view text_;
};

}  // namespace

void write_request_export(std::span<const RequestRecord> records,
                          const std::function<void(std::string_view)>& sink, int threads) {
  const std::vector<std::uint32_t> turns = turns_of(records);
  const std::size_t size = std::min(records.size(), kPieceRecords);
  const std::size_t count = size > 0 ? (records.size() + size - 1) / size : 0;
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < std::min<std::size_t>(count, std::max(threads, 1)); ++i) {
    pieces.emplace_back(size);
  }
  const auto write = [&](std::size_t piece, std::size_t first) {
    const std::size_t length = std::min(size, records.size() - first);
    pieces[piece].write(records.subspan(first, length),
                        turns.empty() ? turns : std::span(turns).subspan(first, length));
  };
  for (std::size_t first = 0; first < records.size(); first += pieces.size() * size) {
    std::vector<std::future<void>> beside;
    for (std::size_t i = 1; i < pieces.size() && first + i * size < records.size(); ++i) {
      beside.push_back(std::async(std::launch::async, write, i, first + i * size));
    }
    write(0, first);
    sink(pieces[0].text());
    for (std::size_t i = 0; i < beside.size(); ++i) {
      beside[i].get();
      sink(pieces[i + 1].text());
    }
  }
}

std::string to_request_export(std::span<const RequestRecord> records) {
  std::string text;
  write_request_export(records, [&](std::string_view piece) { text += piece; });
  return text;
}

}  // namespace dyn
