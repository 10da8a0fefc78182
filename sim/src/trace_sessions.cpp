// Mooncake's lines with sessions, delays and priorities: AIPerf's mooncake_trace. The first line of
// a session comes at its timestamp; each later one when the answer before it is complete and its
// delay has passed, but not before a timestamp of its own.
#include <cmath>
#include <optional>
#include <unordered_map>

#include "prompt_blocks.h"
#include "trace_builder.h"
#include "trace_json.h"

namespace dyn::sim {
namespace {

constexpr std::int32_t kBlock = 512;  ///< tokens of a block id, by Mooncake's definition
constexpr double kMaxMillis = kMaxTraceSeconds * 1e3;

struct Line {
  const char* begin = nullptr;
  TraceRequest request;
  std::vector<kvbm::BlockHash> blocks;
  const char* blocks_at = nullptr;
  std::string session;
  std::string text;
  Duration delay{0};
  std::optional<int> priority;
};

class SessionReader {
 public:
  SessionReader(TraceText& text, const TraceOptions& options)
      : text_(text), options_(options), json_(text), out_(text, options, kBlock) {}

  Workload read() {
    while (const std::optional<std::string_view> line = text_.next_line()) {
      read_line(*line);
    }
    return out_.finish();
  }

 private:
  struct Session {
    std::uint32_t number = 0;
    std::uint32_t last = TraceBuilder::kNone;
  };

  void read_line(std::string_view text) {
    Line line;
    line.begin = text.data();
    const bool good = json_.document(
        text, "expected {\"session_id\": id, \"input_length\": n, ...} on one line",
        [&](std::string_view key, ondemand::value value) { return read_field(key, value, line); });
    if (good && check(line)) {
      add(line);
    }
  }

  bool read_field(std::string_view key, ondemand::value value, Line& line) {
    if (value.is_null()) {
      return true;
    }
    const char* const at = TraceJson::where(value);
    double millis = 0;
    std::int64_t number = 0;
    if (key == "timestamp") {
      line.request.arrival_at = at;
      if (!json_.number(value, "/timestamp", 0, kMaxMillis, millis)) {
        return false;
      }
      line.request.arrival = SimTime(Duration(std::llround(millis * 1e6)));
      return true;
    }
    if (key == "delay" || key == "delay_ms") {
      if (!json_.number(value, "/delay", 0, kMaxMillis, millis)) {
        return false;
      }
      line.delay = Duration(std::llround(millis * 1e6));
      return true;
    }
    if (key == "input_length") {
      line.request.at = at;
      return json_.whole(value, "/input_length", line.request.input_tokens) &&
             out_.check_tokens(line.request.input_tokens, at, "/input_length");
    }
    if (key == "output_length") {
      return json_.whole(value, "/output_length", line.request.output_tokens) &&
             out_.check_tokens(line.request.output_tokens, at, "/output_length");
    }
    if (key == "hash_ids") {
      line.blocks_at = at;
      return json_.hashes(value, "/hash_ids", kvbm::chain_root("trace"), line.blocks);
    }
    if (key == "session_id") {
      return json_.name(value, "/session_id", line.session);
    }
    if (key == "priority") {
      const bool good = json_.whole(value, "/priority", number);
      if (good && (number < -1000 || number > 1000)) {
        text_.complain(at, "/priority", "expected -1000 to 1000");
        return false;
      }
      line.priority = static_cast<int>(number);
      return good;
    }
    if (key == "extra") {  // merged into the request as it is sent
      return json_.object(value, "/extra", [&](std::string_view name, ondemand::value field) {
        return name != "model" || read_model(field, line);
      });
    }
    if (key == "text_input") {
      line.request.at = at;
      return json_.text(value, "/text_input", line.text);
    }
    return true;
  }

  bool read_model(ondemand::value value, Line& line) {
    const char* const at = TraceJson::where(value);
    std::string name;
    return json_.text(value, "/extra/model", name) &&
           (out_.find_adapter(name, at, "/extra/model", line.request.adapter) || !text_.full());
  }

  bool check(Line& line) {
    TraceRequest& request = line.request;
    request.path = "/input_length";
    if (request.input_tokens == 0 && !line.text.empty()) {
      request.input_tokens = tokens_of(line.text);
      request.path = "/text_input";
      line.blocks = blocks_of(line.text, kBlock);
    }
    if (request.output_tokens == 0 && options_.traffic.osl) {
      request.output_tokens = options_.traffic.osl->count();
    }
    if (request.input_tokens == 0) {
      text_.complain(line.begin, {}, "'input_length' is missing");
      return false;
    }
    if (request.output_tokens == 0) {
      text_.complain(line.begin, {}, "'output_length' is missing",
                     "traffic.osl stands in where a trace has none");
      return false;
    }
    const auto expected = static_cast<std::size_t>((request.input_tokens + kBlock - 1) / kBlock);
    if (!line.blocks.empty() && line.blocks.size() != expected) {
      text_.complain(line.blocks_at, "/hash_ids",
                     std::to_string(request.input_tokens) + " tokens are " +
                         std::to_string(expected) + " blocks of 512, got " +
                         std::to_string(line.blocks.size()) + " ids",
                     "one id for each 512 tokens, the partial last block included; [] if unknown");
      return false;
    }
    return true;
  }

  void add(const Line& line) {
    Session alone{0, TraceBuilder::kNone};
    Session* session = &alone;
    if (!line.session.empty()) {
      session = &sessions_.try_emplace(line.session, alone).first->second;
    }
    std::uint32_t made = TraceBuilder::kNone;
    if (session->last != TraceBuilder::kNone) {
      made = out_.add_after(session->last, line.delay, line.request, line.blocks, session->number);
    } else {
      if (line.request.arrival_at != nullptr) {
        out_.has_times();
        timed_ = true;
      } else if (timed_) {
        text_.complain(line.begin, {}, "'timestamp' is missing",
                       "the first line of each session has one, or none has");
        return;
      }
      session->number = out_.new_session();
      made = out_.add(line.request, line.blocks, session->number);
    }
    if (made != TraceBuilder::kNone) {
      session->last = made;
      if (line.priority) {
        out_.set_priority(made, *line.priority);
      }
    }
  }

  TraceText& text_;
  const TraceOptions& options_;
  TraceJson json_;
  TraceBuilder out_;
  std::unordered_map<std::string, Session> sessions_;  // looked up only, never iterated
  bool timed_ = false;
};

}  // namespace

Workload read_sessions(TraceText& text, const TraceOptions& options) {
  return SessionReader(text, options).read();
}

}  // namespace dyn::sim
