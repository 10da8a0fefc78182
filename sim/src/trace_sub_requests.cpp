// Agentic sessions as LLMServingSim has them: a line is a session with arrival_time_ns and
// sub_requests, each with input_toks, output_toks and tool_duration_ns, the time from its end to
// the next one's send. Lines without sub_requests are single requests. A sub-request's prompt
// begins with the one before it, as far as that goes.
#include <algorithm>

#include "prompt_blocks.h"
#include "trace_builder.h"
#include "trace_json.h"

namespace dyn::sim {
namespace {

struct SubRequest {
  TraceRequest request;
  Duration tool{0};
};

class SubRequestReader {
 public:
  SubRequestReader(TraceText& text, const TraceOptions& options)
      : text_(text),
        json_(text),
        out_(text, options, options.block_tokens),
        block_tokens_(options.block_tokens) {}

  Workload read() {
    while (const std::optional<std::string_view> line = text_.next_line()) {
      read_line(*line);
    }
    return out_.finish();
  }

 private:
  void read_line(std::string_view line) {
    const char* arrival_at = nullptr;
    Duration arrival{0};
    SubRequest alone;
    std::vector<SubRequest> all;
    bool listed = false;
    const bool good = json_.document(
        line, "expected {\"arrival_time_ns\": ns, \"sub_requests\": [...]} on one line",
        [&](std::string_view key, ondemand::value value) {
          if (key == "arrival_time_ns") {
            arrival_at = TraceJson::where(value);
            return read_nanos(value, "/arrival_time_ns", arrival);
          }
          if (key == "sub_requests") {
            listed = true;
            return read_list(value, all);
          }
          return read_field(key, value, {}, alone);
        });
    if (!good) {
      return;
    }
    if (!listed) {
      all = {alone};
    }
    if (arrival_at != nullptr) {
      out_.has_times();
    }
    add_session(line.data(), arrival_at, SimTime(arrival), all);
  }

  bool read_list(ondemand::value value, std::vector<SubRequest>& all) {
    return json_.list(value, "/sub_requests", [&](std::size_t index, ondemand::value item) {
      const std::string path = "/sub_requests/" + std::to_string(index);
      SubRequest made;
      const bool good = json_.object(item, path, [&](std::string_view key, ondemand::value field) {
        return read_field(key, field, path, made);
      });
      all.push_back(std::move(made));
      return good;
    });
  }

  bool read_field(std::string_view key, ondemand::value value, const std::string& above,
                  SubRequest& to) {
    const char* const at = TraceJson::where(value);
    const std::string path = above + '/' + std::string(key);
    if (key == "input_toks") {
      to.request.at = at;
      to.request.path = path;
      return json_.whole(value, path, to.request.input_tokens) &&
             out_.check_tokens(to.request.input_tokens, at, path);
    }
    if (key == "output_toks") {
      return json_.whole(value, path, to.request.output_tokens) &&
             out_.check_tokens(to.request.output_tokens, at, path);
    }
    return key != "tool_duration_ns" || read_nanos(value, path, to.tool);
  }

  bool read_nanos(ondemand::value value, const std::string& path, Duration& out) {
    double nanos = 0;
    if (!json_.number(value, path, 0, kMaxTraceSeconds * 1e9, nanos)) {
      return false;
    }
    out = Duration(static_cast<std::int64_t>(nanos));
    return true;
  }

  void add_session(const char* line, const char* arrival_at, SimTime arrival,
                   std::vector<SubRequest>& all) {
    const std::uint32_t session = out_.new_session();
    GrowingPrompt prompt("sub_requests", session, block_tokens_);
    std::uint32_t last = TraceBuilder::kNone;
    Duration tool{0};
    for (SubRequest& sub : all) {
      if (sub.request.input_tokens == 0 || sub.request.output_tokens == 0) {
        text_.complain(sub.request.at != nullptr ? sub.request.at : line, sub.request.path,
                       "'input_toks' or 'output_toks' is missing");
        return;
      }
      const auto blocks = prompt.of(sub.request.input_tokens);
      if (last == TraceBuilder::kNone) {
        sub.request.arrival_at = arrival_at;
        sub.request.arrival_path = "/arrival_time_ns";
        sub.request.arrival = arrival;
        last = out_.add(sub.request, blocks, session);
      } else {
        last = out_.add_after(last, tool, sub.request, blocks, session);
      }
      if (last == TraceBuilder::kNone) {
        return;
      }
      tool = sub.tool;
    }
  }

  TraceText& text_;
  TraceJson json_;
  TraceBuilder out_;
  std::int32_t block_tokens_;
};

}  // namespace

Workload read_sub_requests(TraceText& text, const TraceOptions& options) {
  return SubRequestReader(text, options).read();
}

}  // namespace dyn::sim
