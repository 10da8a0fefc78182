// Whose form a trace has, and the reader for it.
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <initializer_list>

#include "trace_builder.h"
#include "trace_plain.h"

namespace dyn::sim {
namespace {

constexpr std::size_t kLookAt = 16'384;  ///< bytes at the beginning that show the form

bool has(std::string_view text, std::string_view key) {
  return ::memmem(text.data(), text.size(), key.data(), key.size()) != nullptr;
}

/// Lines of Mooncake's form that lack what its own reader needs, or have what it does not know.
bool has_sessions(std::string_view text) {
  return !has(text, "\"timestamp\"") || !has(text, "\"hash_ids\"") ||
         !has(text, "\"output_length\"") || has(text, "\"session_id\"") ||
         has(text, "\"priority\"") || has(text, "\"text_input\"") || has(text, "\"extra\"");
}

TraceFormat detect_json(std::string_view text, std::string_view start) {
  const auto any = [&](std::initializer_list<const char*> keys) {
    return std::any_of(keys.begin(), keys.end(), [&](const char* key) { return has(start, key); });
  };
  // The log of dyn serve is both; as Mooncake's it says which prompts begin alike.
  if (any({"\"request_start_ns\""}) && !any({"\"hash_ids\""})) {
    return TraceFormat::aiperf_log;
  }
  if (any({"\"sub_requests\"", "\"input_toks\""})) {
    return TraceFormat::sub_requests;
  }
  if (any({"\"block_size\"", "\"hash_id_scope\""}) && any({"\"requests\""})) {
    return TraceFormat::weka;
  }
  if (any({"\"payloads\"", "\"turns\"", "\"text\"", "\"texts\"", "\"image\"", "\"images\"",
           "\"image_uuids\""})) {
    return TraceFormat::aiperf;
  }
  if (any({"\"input_length\"", "\"text_input\""})) {
    return has_sessions(text) ? TraceFormat::sessions : TraceFormat::mooncake;
  }
  return TraceFormat::detect;
}

TraceFormat detect_csv(std::string_view start) {
  std::string heading(start.substr(0, start.find_first_of("\r\n")));
  std::transform(heading.begin(), heading.end(), heading.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (has(heading, "request tokens")) {
    return TraceFormat::burst_gpt;
  }
  if (has(heading, "contexttokens") || has(heading, "num_prefill_tokens")) {
    return TraceFormat::azure;
  }
  return TraceFormat::detect;
}

bool fits(const WorkloadRequest& request, std::optional<std::int64_t> max_context) {
  return !max_context || request.input_tokens + request.output_tokens <= *max_context;
}

bool all_fit(const Workload& workload, std::optional<std::int64_t> max_context) {
  return std::all_of(workload.requests.begin(), workload.requests.end(),
                     [&](const WorkloadRequest& request) { return fits(request, max_context); });
}

/// Mooncake's reader does not look at the context, for speed; the lines are sought only if one is
/// beyond it: each that is not blank is a request.
void check_context(TraceText& text, const Workload& workload, std::int64_t max_context) {
  if (all_fit(workload, max_context)) {
    return;
  }
  for (const WorkloadRequest& request : workload.requests) {
    const std::optional<std::string_view> line = text.next_line();
    if (!line) {
      break;
    }
    if (!fits(request, max_context)) {
      constexpr std::string_view kKey = "\"input_length\"";
      const std::size_t key = line->find(kKey);
      const std::size_t at = line->find_first_not_of(": \t", key + kKey.size());
      text.complain(line->data() + std::min(at, line->size()), "/input_length",
                    fmt::format("{} prompt and {} output tokens exceed the context of {}",
                                request.input_tokens, request.output_tokens, max_context),
                    "raise engine.max_model_len, or leave the request out");
    }
  }
  text.throw_if_any();
}

Workload read(TraceFormat format, std::string_view text, const std::string& name,
              const TraceOptions& options) {
  TraceText cut(name, text);
  switch (format) {
    case TraceFormat::detect:
    case TraceFormat::mooncake:
      break;
    case TraceFormat::sessions:
      return read_sessions(cut, options);
    case TraceFormat::azure:
      return read_azure(cut, options);
    case TraceFormat::burst_gpt:
      return read_burst_gpt(cut, options);
    case TraceFormat::aiperf:
      return read_aiperf(cut, options);
    case TraceFormat::aiperf_log:
      return read_aiperf_log(cut, options);
    case TraceFormat::weka:
      return read_weka(cut, options);
    case TraceFormat::sub_requests:
      return read_sub_requests(cut, options);
  }
  Workload workload = read_mooncake(text, name);
  if (options.max_context) {
    check_context(cut, workload, *options.max_context);
  }
  shape_trace(options, name, true, workload);
  return workload;
}

void refuse_osl(const std::string& name) {
  throw Error(ErrorKind::bad_input, {{"the trace says how long its answers are",
                                      Where{name, 0, 0, {}},
                                      "leave traffic.osl out",
                                      {}}});
}

Workload load_folder(const std::string& path, const TraceOptions& options) {
  const TraceFormat format = options.traffic.format;
  if (format != TraceFormat::detect && format != TraceFormat::weka) {
    throw Error(ErrorKind::bad_input, {{"a folder is no trace of this form",
                                        Where{path, 0, 0, {}},
                                        "only traces of the form weka come as folders",
                                        {}}});
  }
  if (options.traffic.osl) {
    refuse_osl(path);
  }
  return read_weka_folder(path, options);
}

Workload read_padded(std::string_view text, const std::string& name, const TraceOptions& options) {
  TraceFormat format = options.traffic.format;
  if ((format == TraceFormat::detect || format == TraceFormat::mooncake) && !options.traffic.osl) {
    std::optional<Workload> plain = read_plain_lines(text, options.threads);
    if (plain && all_fit(*plain, options.max_context)) {
      shape_trace(options, name, true, *plain);
      return std::move(*plain);
    }
  }
  if (format == TraceFormat::detect) {
    format = detect_format(text, name);
  }
  if (options.traffic.osl && format != TraceFormat::sessions && format != TraceFormat::aiperf) {
    refuse_osl(name);
  }
  return read(format, text, name, options);
}

}  // namespace

TraceFormat detect_format(std::string_view text, const std::string& name) {
  if (text.starts_with("\xef\xbb\xbf")) {
    text.remove_prefix(3);
  }
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) {
    return TraceFormat::mooncake;  // its reader says that there is nothing
  }
  const std::string_view start = text.substr(first, kLookAt);
  const TraceFormat format =
      start.front() == '{' || start.front() == '[' ? detect_json(text, start) : detect_csv(start);
  if (format != TraceFormat::detect) {
    return format;
  }
  if (start.front() == '{') {
    return TraceFormat::mooncake;  // its reader names what is missing
  }
  throw Error(ErrorKind::bad_input, {{"not a trace of a known form",
                                      Where{name, 1, 1, {}},
                                      "traffic.format lists the forms; JSON lines begin with {, "
                                      "tables with a heading",
                                      {}}});
}

std::vector<std::string> trace_files(const std::string& path) {
  std::error_code error;
  std::vector<std::string> out;
  if (std::filesystem::is_regular_file(path, error)) {
    out.push_back(path);
  }
  std::filesystem::recursive_directory_iterator at(
      path, std::filesystem::directory_options::skip_permission_denied, error);
  for (; !error && at != std::filesystem::recursive_directory_iterator(); at.increment(error)) {
    const std::filesystem::path extension = at->path().extension();
    std::error_code unreadable;
    if ((extension == ".json" || extension == ".jsonl") && at->is_regular_file(unreadable)) {
      out.push_back(at->path().string());
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

Workload parse_trace(std::string_view text, const std::string& name, const TraceOptions& options) {
  const simdjson::padded_string padded(text);
  return read_padded(std::string_view(padded.data(), padded.size()), name, options);
}

Workload load_trace(const std::string& path, const TraceOptions& options) {
  if (std::filesystem::is_directory(path)) {
    return load_folder(path, options);
  }
  simdjson::padded_string text;
  if (simdjson::padded_string::load(path).get(text) != simdjson::SUCCESS) {
    throw Error(ErrorKind::bad_input, {{"cannot read the trace",
                                        Where{path, 0, 0, {}},
                                        "is it there, and a file that may be read?",
                                        {}}});
  }
  return read_padded(std::string_view(text.data(), text.size()), path, options);
}

Workload parse_trace(std::string_view text, const std::string& name, const Traffic& traffic,
                     std::uint64_t seed) {
  TraceOptions options;
  options.traffic = traffic;
  options.seed = seed;
  return parse_trace(text, name, options);
}

Workload load_trace(const std::string& path, const Traffic& traffic, std::uint64_t seed) {
  TraceOptions options;
  options.traffic = traffic;
  options.seed = seed;
  return load_trace(path, options);
}

}  // namespace dyn::sim
