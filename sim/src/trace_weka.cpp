// Agentic coding sessions as kv-cache-tester recorded and AgentX replays them, in a file or in a
// folder of files: a session is an
// object with block_size, hash_id_scope and requests; a request (type n or s) has t, in, out,
// hash_ids and api_time or think_time; an entry of type subagent has requests of its own, which run
// beside the session. Within a stream a request follows the one before it, by the time that lay
// between the end of that one and its own t. A request of the session also waits for the sub-agents
// that the recording has done by then. Times of a sub-agent's requests are the session's, or, where
// one lies before the sub-agent's own t, count from there.
#include <algorithm>
#include <cmath>

#include "trace_builder.h"
#include "trace_json.h"

namespace dyn::sim {
namespace {

struct Entry {
  bool subagent = false;
  const char* at = nullptr;
  std::string path;
  double t = 0;  ///< seconds
  double api_time = -1;
  double think_time = -1;
  TraceRequest request;
  std::vector<std::uint64_t> ids;
  const char* ids_at = nullptr;
  std::vector<Entry> inner;
};

struct Trace {
  std::int64_t block_size = 64;
  const char* block_size_at = nullptr;
  bool local = true;
  std::vector<Entry> entries;
};

/// A request that was added, as what comes after it sees it.
struct Done {
  std::uint32_t request = TraceBuilder::kNone;
  double end = 0;  ///< seconds, in the recording
};

class WekaReader {
 public:
  WekaReader(TraceText& text, const TraceOptions& options)
      : text_(text), options_(options), json_(text) {}

  Workload finish() {
    if (!out_) {
      out_.emplace(text_, options_, 64);
    }
    return out_->finish();
  }

  /// Reads the sessions of the text at hand.
  void read() {
    const std::optional<std::string_view> first = text_.next_line();
    if (first) {
      // One object over many lines, or one a line.
      const bool many_lines = first->find("\"requests\"") == std::string_view::npos;
      if (many_lines) {
        const auto begin = static_cast<std::size_t>(first->data() - text_.text().data());
        std::string_view all = text_.text().substr(begin);
        read_trace(all.substr(0, all.find_last_not_of(" \t\r\n") + 1));
      } else {
        read_trace(*first);
        while (const std::optional<std::string_view> line = text_.next_line()) {
          read_trace(*line);
        }
      }
    }
  }

 private:
  void read_trace(std::string_view json) {
    Trace trace;
    const bool good = json_.document(
        json, "expected {\"id\": id, \"block_size\": n, \"requests\": [...]}",
        [&](std::string_view key, ondemand::value value) {
          if (key == "block_size") {
            trace.block_size_at = TraceJson::where(value);
            return json_.whole(value, "/block_size", trace.block_size);
          }
          if (key == "hash_id_scope") {
            std::string scope;
            const bool read = json_.text(value, "/hash_id_scope", scope);
            trace.local = scope != "global";
            return read;
          }
          return key != "requests" || read_entries(value, "/requests", 0, trace.entries);
        });
    if (good) {
      add_trace(json.data(), trace);
    }
  }

  bool read_entries(ondemand::value value, const std::string& path, int depth,
                    std::vector<Entry>& out) {
    constexpr int kDeepest = 8;
    return json_.list(value, path, [&](std::size_t index, ondemand::value item) {
      Entry entry;
      entry.path = path + '/' + std::to_string(index);
      entry.at = TraceJson::where(item);
      if (depth > kDeepest) {
        text_.complain(entry.at, entry.path, "sub-agents are nested too deeply");
        return false;
      }
      const bool good =
          json_.object(item, entry.path, [&](std::string_view key, ondemand::value field) {
            return read_field(key, field, depth, entry);
          });
      out.push_back(std::move(entry));
      return good;
    });
  }

  bool read_field(std::string_view key, ondemand::value value, int depth, Entry& entry) {
    const std::string path = entry.path + '/' + std::string(key);
    const char* const at = TraceJson::where(value);
    if (value.is_null()) {
      return true;
    }
    if (key == "t") {
      entry.request.arrival_at = at;
      return json_.number(value, path, 0, kMaxTraceSeconds, entry.t);
    }
    if (key == "api_time") {
      return json_.number(value, path, 0, kMaxTraceSeconds, entry.api_time);
    }
    if (key == "think_time") {
      return json_.number(value, path, 0, kMaxTraceSeconds, entry.think_time);
    }
    if (key == "in") {
      entry.request.at = at;
      entry.request.path = path;
      return json_.whole(value, path, entry.request.input_tokens);
    }
    if (key == "out") {
      return json_.whole(value, path, entry.request.output_tokens);
    }
    if (key == "type") {
      std::string type;
      const bool good = json_.text(value, path, type);
      entry.subagent = type == "subagent";
      return good;
    }
    if (key == "requests") {
      return read_entries(value, path, depth + 1, entry.inner);
    }
    return key != "hash_ids" || read_ids(value, path, entry);
  }

  bool read_ids(ondemand::value value, const std::string& path, Entry& entry) {
    entry.ids_at = TraceJson::where(value);
    return json_.list(value, path, [&](std::size_t index, ondemand::value item) {
      const char* const at = TraceJson::where(item);
      if (item.get_uint64().get(entry.ids.emplace_back()) != simdjson::SUCCESS) {
        text_.complain(at, path,
                       "block id " + std::to_string(index + 1) + " is not a whole number >= 0");
        return false;
      }
      return true;
    });
  }

  void add_trace(const char* begin, Trace& trace) {
    if (trace.block_size < 1 || trace.block_size > 65'536 ||
        (out_ && trace.block_size != block_size_)) {
      text_.complain(trace.block_size_at, "/block_size",
                     out_ ? "expected the same in all sessions" : "expected 1 to 65536 tokens");
      return;
    }
    if (!out_) {
      block_size_ = trace.block_size;
      out_.emplace(text_, options_, static_cast<std::int32_t>(block_size_));
    }
    if (trace.entries.empty()) {
      text_.complain(begin, "/requests", "the session has no requests");
      return;
    }
    session_ = out_->new_session();
    root_ = kvbm::chain(kvbm::chain_root("weka"), trace.local ? session_ + 1 : 0);
    Done end;
    add_stream(trace.entries, {}, end);
  }

  /// Adds a stream of requests, the first after `before`; false after a complaint. `end`: its last.
  bool add_stream(std::vector<Entry>& entries, Done before, Done& end) {
    Done last = before;
    std::vector<Done> children;  // sub-agents that nothing has waited for yet
    for (Entry& entry : entries) {
      if (entry.subagent) {
        make_absolute(entry);
        Done child;
        const bool first = last.request == TraceBuilder::kNone && !children.empty();
        if (!add_stream(entry.inner, first ? children.front() : last, child)) {
          return false;
        }
        if (child.request != TraceBuilder::kNone && child.request != last.request) {
          children.push_back(child);
        }
      } else if (!add_request(entry, last, children)) {
        return false;
      }
    }
    end = last;
    for (const Done& child : children) {  // what comes after the stream comes after these too
      end = child.end > end.end ? child : end;
    }
    return true;
  }

  static void make_absolute(Entry& subagent) {
    const bool relative = std::any_of(subagent.inner.begin(), subagent.inner.end(),
                                      [&](const Entry& inner) { return inner.t < subagent.t; });
    if (relative) {
      for (Entry& inner : subagent.inner) {
        inner.t += subagent.t;
      }
    }
  }

  static Duration since(double end, double t) {
    return from_seconds(std::clamp(t - end, 0.0, kMaxTraceSeconds));
  }

  bool add_request(Entry& entry, Done& last, std::vector<Done>& children) {
    std::vector<kvbm::BlockHash> blocks;
    if (!check(entry, blocks)) {
      return false;
    }
    if (last.request == TraceBuilder::kNone && !children.empty()) {
      last = children.front();  // a session has one first request
      children.erase(children.begin());
    }
    Done made;
    made.end = entry.t + std::max(entry.api_time, 0.0);
    if (last.request == TraceBuilder::kNone) {
      made.request = out_->add(entry.request, blocks, session_);
    } else {
      const Duration delay = entry.think_time >= 0 && entry.api_time < 0
                                 ? since(0, entry.think_time)
                                 : since(last.end, entry.t);
      made.request = out_->add_after(last.request, delay, entry.request, blocks, session_);
    }
    if (made.request == TraceBuilder::kNone) {
      return false;
    }
    std::erase_if(children, [&](const Done& child) {
      const bool waits = child.end <= entry.t;
      if (waits) {
        out_->also_after(child.request, since(child.end, entry.t), made.request);
      }
      return waits;
    });
    last = made;
    return true;
  }

  bool check(const Entry& entry, std::vector<kvbm::BlockHash>& blocks) {
    const TraceRequest& request = entry.request;
    if (request.at == nullptr) {
      text_.complain(entry.at, entry.path, "'in' is missing");
      return false;
    }
    if (!out_->check_tokens(request.input_tokens, request.at, request.path) ||
        !out_->check_tokens(request.output_tokens, entry.at, entry.path + "/out")) {
      return false;
    }
    const auto most =
        static_cast<std::size_t>((request.input_tokens + block_size_ - 1) / block_size_);
    if (entry.ids.size() > most) {
      text_.complain(entry.ids_at, entry.path + "/hash_ids",
                     std::to_string(request.input_tokens) + " tokens are at most " +
                         std::to_string(most) + " blocks of " + std::to_string(block_size_) +
                         ", got " + std::to_string(entry.ids.size()) + " ids");
      return false;
    }
    kvbm::BlockHash hash = root_;
    for (const std::uint64_t id : entry.ids) {
      blocks.push_back(hash = kvbm::chain(hash, id));
    }
    return true;
  }

  TraceText& text_;
  const TraceOptions& options_;
  TraceJson json_;
  std::optional<TraceBuilder> out_;  ///< once the first session has said what a block is
  std::int64_t block_size_ = 64;
  std::uint32_t session_ = 0;
  kvbm::BlockHash root_{};
};

}  // namespace

Workload read_weka(TraceText& text, const TraceOptions& options) {
  WekaReader reader(text, options);
  reader.read();
  return reader.finish();
}

Workload read_weka_folder(const std::string& folder, const TraceOptions& options) {
  TraceText text(folder, {});
  WekaReader reader(text, options);
  const std::vector<std::string> paths = trace_files(folder);
  for (const std::string& path : paths) {
    simdjson::padded_string file;
    if (simdjson::padded_string::load(path).get(file) != simdjson::SUCCESS) {
      text.open(path, {});
      text.complain(nullptr, {}, "cannot read the trace", "is it a file that may be read?");
      continue;
    }
    text.open(path, std::string_view(file.data(), file.size()));
    reader.read();
  }
  text.open(folder, {});
  if (paths.empty()) {
    text.complain(nullptr, {}, "the folder holds no .json or .jsonl file");
  }
  return reader.finish();
}

}  // namespace dyn::sim
