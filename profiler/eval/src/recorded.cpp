#include "dyn/eval/recorded.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <optional>
#include <sstream>

#include "dyn/core/document.h"
#include "dyn/core/error.h"
#include "dyn/core/node.h"
#include "dyn/core/random.h"
#include "dyn/core/report.h"

namespace dyn::eval {
namespace {

constexpr std::size_t kMaxErrors = 20;
constexpr std::int64_t kMaxTokens = 100'000'000;
constexpr double kNextSend = 20;     ///< ms after an answer's end, at most, in a closed loop
constexpr double kFollowing = 0.95;  ///< share of a closed loop's requests that do

/// Reads the requests of a JSONL text line by line, collecting what is wrong with them.
class LineReader {
 public:
  explicit LineReader(std::string name) : name_(std::move(name)) {}

  void read(const std::string& text) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line) && errors_.size() < kMaxErrors;) {
      ++line_;
      if (line.find_first_not_of(" \t\r") != std::string::npos) {
        read_line(line);
      }
    }
  }

  void throw_if_any() {
    if (!errors_.empty()) {
      throw Error(ErrorKind::bad_input, std::move(errors_));
    }
  }

  std::vector<RecordedRequest> requests;

 private:
  void add(Where where, std::string message) {
    where.file = name_;
    where.line = line_;
    errors_.push_back({std::move(message), std::move(where), {}, {}});
  }

  void read_line(const std::string& line) {
    try {
      const Document document = Document::parse(line, name_);
      const Node root = document.root();
      if (root.find("metrics")) {
        read_aiperf(root);
      } else {
        read_plain(root);
      }
    } catch (const Error& error) {
      for (const ErrorItem& item : error.items()) {
        const bool cut = line.starts_with('{') && line.find_last_of('}') == std::string::npos;
        add(item.where.value_or(Where{}),
            cut ? "the line is cut off; is the file truncated?" : item.message);
      }
    }
  }

  std::optional<double> number(const Node& from, const char* key, double least) {
    const std::optional<Node> node = from.find(key);
    if (!node) {
      add(from.where(), fmt::format("no '{}'", key));
      return std::nullopt;
    }
    const std::optional<double> value = node->as_double();
    if (!value || !std::isfinite(*value) || *value < least) {
      add(node->where(),
          fmt::format("{}: expected a number of at least {}, got {}", key, least, node->quote()));
      return std::nullopt;
    }
    return value;
  }

  std::optional<std::int64_t> tokens(const Node& from, const char* key) {
    const std::optional<double> value = number(from, key, 1);
    if (value && (*value != std::floor(*value) || *value > static_cast<double>(kMaxTokens))) {
      add(from.find(key)->where(), fmt::format("{}: expected whole tokens", key));
      return std::nullopt;
    }
    return value ? std::optional(static_cast<std::int64_t>(*value)) : std::nullopt;
  }

  void keep(std::optional<double> sent_ms, std::optional<std::int64_t> isl,
            std::optional<std::int64_t> osl, std::optional<double> ttft, std::optional<double> e2e,
            const Node& at) {
    if (!sent_ms || !isl || !osl || !ttft || !e2e) {
      return;
    }
    if (*ttft <= 0 || *e2e < *ttft) {
      add(at.where(), "an answer ends before its first token");
      return;
    }
    requests.push_back({from_seconds(*sent_ms * 1e-3), *isl, *osl, *ttft, *e2e, line_});
  }

  void read_plain(const Node& root) {
    if (!root.is_object()) {
      add(root.where(), "expected an object, one request a line");
      return;
    }
    const std::optional<double> sent = number(root, "sent_ms", 0);
    const std::optional<std::int64_t> isl = tokens(root, "isl");
    const std::optional<std::int64_t> osl = tokens(root, "osl");
    const std::optional<double> ttft = number(root, "ttft_ms", 0);
    keep(sent, isl, osl, ttft, number(root, "e2e_ms", 0), root);
  }

  void read_aiperf(const Node& root) {
    const std::optional<Node> failed = root.find("error");
    const std::optional<Node> metadata = root.find("metadata");
    const Node metrics = *root.find("metrics");
    if (failed && !failed->is_null()) {
      return;
    }
    if (!metadata) {
      add(root.where(), "no 'metadata'");
      return;
    }
    const auto metric = [&](const char* tag) -> std::optional<Node> {
      const std::optional<Node> found = metrics.find(tag);
      if (!found) {
        add(metrics.where(), fmt::format("no '{}'", tag));
      }
      return found;
    };
    const auto isl = metric("input_sequence_length");
    const auto osl = metric("output_sequence_length");
    const auto ttft = metric("time_to_first_token");
    const auto e2e = metric("request_latency");
    if (!isl || !osl || !ttft || !e2e) {
      return;
    }
    const std::optional<double> start = number(*metadata, "request_start_ns", 0);
    keep(start ? std::optional(*start * 1e-6) : std::nullopt, tokens(*isl, "value"),
         tokens(*osl, "value"), number(*ttft, "value", 0), number(*e2e, "value", 0), root);
  }

  std::string name_;
  int line_ = 0;
  std::vector<ErrorItem> errors_;
};

double end_ms(const RecordedRequest& request) {
  return to_millis(request.sent) + request.e2e_ms;
}

/// Slots of a closed loop, or 0.
int closed_loop_slots(const std::vector<RecordedRequest>& requests) {
  std::vector<double> ends;
  for (const RecordedRequest& request : requests) {
    ends.push_back(end_ms(request));
  }
  std::sort(ends.begin(), ends.end());
  const auto slots = static_cast<std::size_t>(
      std::find_if(requests.begin(), requests.end(),
                   [&](const RecordedRequest& r) { return to_millis(r.sent) >= ends.front(); }) -
      requests.begin());
  if (slots == 0 || slots >= requests.size()) {
    return 0;
  }
  std::size_t following = 0;
  for (std::size_t i = slots; i < requests.size(); ++i) {
    const double sent = to_millis(requests[i].sent);
    const auto after = std::upper_bound(ends.begin(), ends.end(), sent + 0.01);
    following += after != ends.begin() && sent - *(after - 1) <= kNextSend ? 1 : 0;
  }
  const auto others = static_cast<double>(requests.size() - slots);
  return static_cast<double>(following) >= kFollowing * others ? static_cast<int>(slots) : 0;
}

RecordedRun parse_requests(const std::string& text, const std::string& name) {
  LineReader reader(name);
  reader.read(text);
  reader.throw_if_any();
  RecordedRun run;
  run.name = name;
  run.requests = std::move(reader.requests);
  if (run.requests.empty()) {
    throw Error(ErrorKind::bad_input,
                std::vector<ErrorItem>{{"a run without requests", Where{name, 1, 1, {}}, {}, {}}});
  }
  std::stable_sort(run.requests.begin(), run.requests.end(),
                   [](const auto& a, const auto& b) { return a.sent < b.sent; });
  const Duration first = run.requests.front().sent;
  for (RecordedRequest& request : run.requests) {
    request.sent -= first;
  }
  run.concurrency = closed_loop_slots(run.requests);
  return run;
}

/// The whole number at a path of AIPerf's input_config, 0 where there is none.
int configured_concurrency(const Document& document) {
  std::optional<Node> at = document.root().find("input_config");
  for (const char* key : {"loadgen", "concurrency"}) {
    at = at ? at->find(key) : std::nullopt;
  }
  const std::optional<std::int64_t> value = at ? at->as_int() : std::nullopt;
  return value && *value > 0 && *value < 1'000'000 ? static_cast<int>(*value) : 0;
}

RecordedRun parse_means(const Document& document, const std::string& name) {
  const Report report = parse_report(document);
  std::vector<ErrorItem> errors;
  for (const Metric& metric : report.metrics) {
    if (!(metric.avg >= 0)) {
      errors.push_back({fmt::format("a mean of {} below 0: {}", metric.tag, metric.avg),
                        Where{name, 1, 1, {}},
                        {},
                        {}});
    }
  }
  const auto mean = [&](const char* tag) {
    const Metric* metric = report.find(tag);
    if (metric == nullptr || !(metric->avg > 0)) {
      errors.push_back({fmt::format("no mean of {}", tag), Where{name, 1, 1, {}}, {}, {}});
      return 1.0;
    }
    return metric->avg;
  };
  const double isl = mean("input_sequence_length");
  const double osl = mean("output_sequence_length");
  const double ttft = mean("time_to_first_token");
  const double e2e = mean("request_latency");
  const double count = mean("request_count");
  RecordedRun run;
  run.name = name;
  run.means_only = true;
  run.concurrency = configured_concurrency(document);
  const double rate = run.concurrency == 0 ? mean("request_throughput") : 1;
  if (!errors.empty()) {
    throw Error(ErrorKind::bad_input, std::move(errors));
  }
  const auto spread = [&](const char* tag) { return report.find(tag)->std; };
  RandomStream lengths(1, "eval/recorded/lengths");
  RandomStream arrivals(1, "eval/recorded/arrivals");
  const auto draw = [&](double average, double deviation) {
    const double value = std::round(average + deviation * lengths.normal());
    return static_cast<std::int64_t>(std::clamp(value, 1.0, static_cast<double>(kMaxTokens)));
  };
  Duration at{0};
  for (int i = 0; i < static_cast<int>(std::min(count, 20'000.0)); ++i) {
    run.requests.push_back({at, draw(isl, spread("input_sequence_length")),
                            draw(osl, spread("output_sequence_length")), ttft, e2e});
    at += run.concurrency == 0 ? from_seconds(arrivals.exponential(1 / rate)) : Duration{0};
  }
  return run;
}

template <class Value>
double mean_of(const std::vector<RecordedRequest>& requests, Value value) {
  double sum = 0;
  double count = 0;
  for (const RecordedRequest& request : requests) {
    const double x = value(request);
    sum += x;
    count += x > 0 ? 1 : 0;
  }
  return count > 0 ? sum / count : 0;
}

}  // namespace

double RecordedRun::mean_ttft_ms() const {
  return mean_of(requests, [](const RecordedRequest& r) { return r.ttft_ms; });
}
double RecordedRun::mean_itl_ms() const {
  return mean_of(requests, [](const RecordedRequest& r) { return r.itl_ms(); });
}
double RecordedRun::mean_e2e_ms() const {
  return mean_of(requests, [](const RecordedRequest& r) { return r.e2e_ms; });
}

RecordedRun parse_recorded_run(const std::string& text, const std::string& name) {
  if (name.ends_with(".json")) {
    return parse_means(Document::parse(text, name), name);
  }
  return parse_requests(text, name);
}

RecordedRun load_recorded_run(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw Error(ErrorKind::bad_input,
                std::vector<ErrorItem>{{"cannot be read", Where{path, 0, 0, {}}, {}, {}}});
  }
  std::ostringstream text;
  text << file.rdbuf();
  return parse_recorded_run(text.str(), path);
}

}  // namespace dyn::eval
