// What a run recorded of its requests, AIPerf's profile_export.jsonl or dyn's: arrivals and lengths
// are replayed. Lines come in the order of completion; requests without an answer, and those of
// the warm-up, are left out.
#include <algorithm>

#include "trace_builder.h"
#include "trace_json.h"

namespace dyn::sim {
namespace {

constexpr std::int32_t kBlock = 512;

struct Line {
  std::int64_t start = -1;  ///< ns, of the machine's clock
  const char* start_at = nullptr;
  TraceRequest request;
  bool warmup = false;
};

class LogReader {
 public:
  LogReader(TraceText& text, const TraceOptions& options)
      : text_(text), json_(text), out_(text, options, kBlock) {}

  Workload read() {
    while (const std::optional<std::string_view> line = text_.next_line()) {
      read_line(*line);
    }
    std::stable_sort(lines_.begin(), lines_.end(),
                     [](const Line& a, const Line& b) { return a.start < b.start; });
    for (Line& line : lines_) {
      line.request.arrival = SimTime(Duration(line.start - lines_.front().start));
      line.request.arrival_at = line.start_at;
      line.request.arrival_path = "/metadata/request_start_ns";
      out_.add(line.request, {}, out_.new_session());
    }
    out_.has_times();
    return out_.finish();
  }

 private:
  void read_line(std::string_view text) {
    Line line;
    line.request.path = "/metrics/input_sequence_length";
    const bool good =
        json_.document(text, "expected {\"metadata\": {...}, \"metrics\": {...}} on one line",
                       [&](std::string_view key, ondemand::value value) {
                         if (key == "metadata") {
                           return read_metadata(value, line);
                         }
                         return key != "metrics" || read_metrics(value, line);
                       });
    if (!good) {
      return;
    }
    if (line.start < 0) {
      text_.complain(text.data(), {}, "'metadata.request_start_ns' is missing");
    } else if (!line.warmup && line.request.input_tokens > 0 && line.request.output_tokens > 0) {
      lines_.push_back(std::move(line));
    }
  }

  bool read_metadata(ondemand::value value, Line& line) {
    return json_.object(value, "/metadata", [&](std::string_view key, ondemand::value field) {
      if (key == "request_start_ns") {
        line.start_at = TraceJson::where(field);
        if (!json_.whole(field, "/metadata/request_start_ns", line.start)) {
          return false;
        }
        if (line.start < 0) {
          text_.complain(line.start_at, "/metadata/request_start_ns", "expected a time >= 0");
          return false;
        }
      } else if (key == "benchmark_phase") {
        std::string phase;
        const bool good = json_.text(field, "/metadata/benchmark_phase", phase);
        line.warmup = phase == "warmup";
        return good;
      }
      return true;
    });
  }

  bool read_metrics(ondemand::value value, Line& line) {
    return json_.object(value, "/metrics", [&](std::string_view key, ondemand::value field) {
      const bool input = key == "input_sequence_length";
      if (!input && key != "output_sequence_length") {
        return true;
      }
      const std::string path = "/metrics/" + std::string(key);
      return json_.object(field, path, [&](std::string_view name, ondemand::value number) {
        return name != "value" || read_tokens(number, path + "/value", input, line);
      });
    });
  }

  bool read_tokens(ondemand::value value, const std::string& path, bool input, Line& line) {
    const char* const at = TraceJson::where(value);
    double tokens = 0;
    if (!json_.number(value, path, 0, static_cast<double>(kMaxTraceTokens), tokens)) {
      return false;
    }
    auto& to = input ? line.request.input_tokens : line.request.output_tokens;
    to = static_cast<std::int64_t>(tokens);
    if (input) {
      line.request.at = at;
    }
    return true;
  }

  TraceText& text_;
  TraceJson json_;
  TraceBuilder out_;
  std::vector<Line> lines_;
};

}  // namespace

Workload read_aiperf_log(TraceText& text, const TraceOptions& options) {
  return LogReader(text, options).read();
}

}  // namespace dyn::sim
