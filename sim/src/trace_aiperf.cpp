// AIPerf's inputs (aiperf.dataset.loader.models): inputs.json holds sessions of payloads as they
// are sent; single_turn and multi_turn lines hold texts and images. Text is counted four bytes a
// token.
#include "prompt_blocks.h"
#include "trace_builder.h"
#include "trace_json.h"
#include "trace_turn.h"

namespace dyn::sim {
namespace {

class AiperfReader {
 public:
  AiperfReader(TraceText& text, const TraceOptions& options)
      : text_(text),
        options_(options),
        json_(text),
        out_(text, options, options.block_tokens),
        turns_(text, json_, out_) {}

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
        return key != "payloads" || turns_.read_payloads(field, path + "/payloads", turns);
      });
      if (good) {
        add_session(turns, false);
      }
      return good;
    });
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
            return turns_.read_turns(value, "/turns", turns);
          }
          return has_turns || turns_.read_turn_field(key, value, turns[0]);
        });
    if (good && (has_turns || turns_.finish(turns[0]))) {
      add_session(turns, true);
    }
  }

  /// `grows`: each turn's prompt begins with the turns before it and their answers.
  void add_session(const std::vector<Turn>& turns, bool grows) {
    const std::uint32_t session = out_.new_session();
    GrowingPrompt prompt("aiperf", session, options_.block_tokens);
    std::int64_t context = 0;
    std::vector<policy::PromptImage> images;  // of all turns so far
    std::uint32_t last = TraceBuilder::kNone;
    for (const Turn& turn : turns) {
      TraceRequest request;
      std::vector<policy::PromptImage> own_images = images_of(turn);
      if (!make(turn, own_images, request)) {
        return;
      }
      std::vector<kvbm::BlockHash> own = blocks_of(turn.text, own_images, options_.block_tokens);
      std::span<const kvbm::BlockHash> blocks(own);
      if (grows) {
        if (context == 0) {
          prompt.start_with(
              blocks.first(static_cast<std::size_t>(request.input_tokens / options_.block_tokens)));
        }
        for (policy::PromptImage& image : own_images) {
          image.start += context;
          images.push_back(image);
        }
        request.images = images;
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

  /// Where they are in the turn's own tokens.
  static std::vector<policy::PromptImage> images_of(const Turn& turn) {
    std::vector<policy::PromptImage> out;
    std::int64_t before = 0;
    for (const Turn::Image& image : turn.images) {
      const auto bytes = static_cast<std::int64_t>(image.offset);
      out.push_back({image.id, before + (bytes + kBytesPerToken - 1) / kBytesPerToken, image.size});
      before += image.size.tokens;
    }
    return out;
  }

  bool make(const Turn& turn, policy::PromptImages images, TraceRequest& request) {
    request.at = turn.at;
    request.path = turn.path;
    request.arrival_at = turn.time_at;
    request.arrival_path = turn.path + "/timestamp";
    request.arrival = turn.time;
    if (turn.time_at != nullptr) {
      out_.has_times();
    }
    if (turn.text.empty() && images.empty()) {
      text_.complain(turn.at, turn.path, "the turn has no text and no image",
                     "audio and video alone are not counted");
      return false;
    }
    request.adapter = turn.adapter;
    request.images = images;
    request.input_tokens =
        policy::image_tokens(images) + (turn.text.empty() ? 0 : tokens_of(turn.text));
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
  TurnReader turns_;
};

}  // namespace

Workload read_aiperf(TraceText& text, const TraceOptions& options) {
  return AiperfReader(text, options).read();
}

}  // namespace dyn::sim
