// AIPerf's inputs (aiperf.dataset.loader.models): inputs.json holds sessions of payloads as they
// are sent; single_turn and multi_turn lines hold texts. Text is counted four bytes a token.
#include <cmath>

#include "prompt_blocks.h"
#include "trace_builder.h"
#include "trace_json.h"

namespace dyn::sim {
namespace {

constexpr double kMaxMillis = kMaxTraceSeconds * 1e3;

/// One turn: its text and what is said about it.
struct Turn {
  const char* at = nullptr;
  std::string path;
  std::string text;
  std::int64_t output_tokens = 0;
  const char* time_at = nullptr;
  SimTime time{};
  Duration delay{0};
};

class AiperfReader {
 public:
  AiperfReader(TraceText& text, const TraceOptions& options)
      : text_(text), options_(options), json_(text), out_(text, options, options.block_tokens) {}

  Workload read() {
    const std::optional<std::string_view> first = text_.next_line();
    if (first && !whole_file(*first)) {
      read_line(*first);
      while (const std::optional<std::string_view> line = text_.next_line()) {
        read_line(*line);
      }
    }
    return out_.finish();
  }

 private:
  /// inputs.json is one object over all lines; in the other forms each line is one.
  bool whole_file(std::string_view first) {
    const std::string_view start = text_.text().substr(0, 4096);
    const std::size_t data = start.find("\"data\"");
    const bool is_data =
        data != std::string_view::npos &&
        start.substr(0, data).find_first_not_of(" \t\r\n{") == std::string_view::npos;
    if (!is_data) {
      return false;
    }
    const std::size_t begin = static_cast<std::size_t>(first.data() - text_.text().data());
    std::string_view all = text_.text().substr(begin);
    all = all.substr(0, all.find_last_not_of(" \t\r\n") + 1);
    json_.document(all, "expected {\"data\": [{\"session_id\": id, \"payloads\": [...]}]}",
                   [&](std::string_view key, ondemand::value value) {
                     return key != "data" || read_sessions(value);
                   });
    return true;
  }

  bool read_sessions(ondemand::value value) {
    return json_.list(value, "/data", [&](std::size_t index, ondemand::value item) {
      const std::string path = "/data/" + std::to_string(index);
      std::vector<Turn> turns;
      const bool good = json_.object(item, path, [&](std::string_view key, ondemand::value field) {
        return key != "payloads" || read_payloads(field, path + "/payloads", turns);
      });
      if (good) {
        add_session(turns, false);
      }
      return good;
    });
  }

  bool read_payloads(ondemand::value value, const std::string& path, std::vector<Turn>& turns) {
    return json_.list(value, path, [&](std::size_t index, ondemand::value item) {
      Turn turn;
      turn.path = path + '/' + std::to_string(index);
      turn.at = TraceJson::where(item);
      const bool good =
          json_.object(item, turn.path, [&](std::string_view key, ondemand::value field) {
            return read_payload_field(key, field, turn);
          });
      turns.push_back(std::move(turn));
      return good;
    });
  }

  bool read_payload_field(std::string_view key, ondemand::value value, Turn& turn) {
    if (value.is_null()) {
      return true;
    }
    if (key == "max_tokens" || key == "max_completion_tokens" || key == "output_length") {
      const char* const at = TraceJson::where(value);
      const std::string path = turn.path + '/' + std::string(key);
      return json_.whole(value, path, turn.output_tokens) &&
             out_.check_tokens(turn.output_tokens, at, path);
    }
    if (key == "messages" || key == "prompt" || key == "input") {
      return read_text(value, turn);
    }
    return true;
  }

  /// Adds all text in a value: a string, a list of them, or objects with content or text.
  bool read_text(ondemand::value value, Turn& turn) {
    switch (value.type().value()) {
      case ondemand::json_type::string: {
        std::string text;
        const bool good = json_.text(value, turn.path, text);
        turn.text += text;
        return good;
      }
      case ondemand::json_type::array:
        return json_.list(value, turn.path,
                          [&](std::size_t, ondemand::value item) { return read_text(item, turn); });
      case ondemand::json_type::object:
        return json_.object(value, turn.path, [&](std::string_view key, ondemand::value field) {
          return (key != "content" && key != "contents" && key != "text") || field.is_null() ||
                 read_text(field, turn);
        });
      default:
        return true;
    }
  }

  void read_line(std::string_view line) {
    std::vector<Turn> turns(1);
    turns[0].at = line.data();
    bool has_turns = false;
    const bool good = json_.document(
        line, "expected {\"text\": text} or {\"session_id\": id, \"turns\": [...]} on one line",
        [&](std::string_view key, ondemand::value value) {
          if (key == "turns") {
            has_turns = true;
            turns.clear();
            return read_turns(value, turns);
          }
          return has_turns || read_turn_field(key, value, turns[0]);
        });
    if (good) {
      add_session(turns, true);
    }
  }

  bool read_turns(ondemand::value value, std::vector<Turn>& turns) {
    return json_.list(value, "/turns", [&](std::size_t index, ondemand::value item) {
      Turn turn;
      turn.path = "/turns/" + std::to_string(index);
      turn.at = TraceJson::where(item);
      const bool good =
          json_.object(item, turn.path, [&](std::string_view key, ondemand::value field) {
            return read_turn_field(key, field, turn);
          });
      turns.push_back(std::move(turn));
      return good;
    });
  }

  bool read_turn_field(std::string_view key, ondemand::value value, Turn& turn) {
    if (value.is_null()) {
      return true;
    }
    if (key == "text" || key == "texts") {
      return read_text(value, turn);
    }
    if (key != "timestamp" && key != "delay") {
      return read_payload_field(key, value, turn);
    }
    const char* const at = TraceJson::where(value);
    double millis = 0;
    if (!json_.number(value, turn.path + '/' + std::string(key), 0, kMaxMillis, millis)) {
      return false;
    }
    const Duration time(std::llround(millis * 1e6));
    if (key == "delay") {
      turn.delay = time;
    } else {
      turn.time_at = at;
      turn.time = SimTime(time);
    }
    return true;
  }

  /// `grows`: each turn's prompt begins with the turns before it and their answers.
  void add_session(const std::vector<Turn>& turns, bool grows) {
    const std::uint32_t session = out_.new_session();
    GrowingPrompt prompt("aiperf", session, options_.block_tokens);
    std::int64_t context = 0;
    std::uint32_t last = TraceBuilder::kNone;
    for (const Turn& turn : turns) {
      TraceRequest request;
      if (!make(turn, request)) {
        return;
      }
      std::vector<kvbm::BlockHash> own = blocks_of(turn.text, options_.block_tokens);
      std::span<const kvbm::BlockHash> blocks(own);
      if (grows) {
        if (context == 0) {
          prompt.start_with(
              blocks.first(static_cast<std::size_t>(request.input_tokens / options_.block_tokens)));
        }
        request.input_tokens += context;
        blocks = prompt.of(request.input_tokens);
        context = request.input_tokens + request.output_tokens;
      }
      last = last == TraceBuilder::kNone
                 ? out_.add(request, blocks, session)
                 : out_.add_after(last, turn.delay, request, blocks, session);
      if (last == TraceBuilder::kNone) {
        return;
      }
    }
  }

  bool make(const Turn& turn, TraceRequest& request) {
    request.at = turn.at;
    request.path = turn.path;
    request.arrival_at = turn.time_at;
    request.arrival_path = turn.path + "/timestamp";
    request.arrival = turn.time;
    if (turn.time_at != nullptr) {
      out_.has_times();
    }
    if (turn.text.empty()) {
      text_.complain(turn.at, turn.path, "the turn has no text",
                     "images and audio alone are not counted");
      return false;
    }
    request.input_tokens = tokens_of(turn.text);
    request.output_tokens = turn.output_tokens;
    if (request.output_tokens == 0 && options_.traffic.osl) {
      request.output_tokens = options_.traffic.osl->count();
    }
    if (request.output_tokens == 0) {
      text_.complain(turn.at, turn.path, "nothing says how long the answer is",
                     "give it max_tokens, or the recipe traffic.osl");
      return false;
    }
    return out_.check_tokens(request.input_tokens, turn.at, turn.path);
  }

  TraceText& text_;
  const TraceOptions& options_;
  TraceJson json_;
  TraceBuilder out_;
};

}  // namespace

Workload read_aiperf(TraceText& text, const TraceOptions& options) {
  return AiperfReader(text, options).read();
}

}  // namespace dyn::sim
