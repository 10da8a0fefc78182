#include <simdjson.h>

#include "trace_builder.h"

namespace dyn::sim {
namespace {

bool is_table(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] != '{' && text[first] != '[' &&
         text[first] != '\xef';
}

LengthTable lengths_of(std::string_view padded, const std::string& name) {
  if (is_table(padded)) {
    TraceText text(name, padded);
    return read_length_table(text);
  }
  TraceOptions options;
  options.traffic.concurrency = 1;  // when they come does not matter
  const Workload workload = parse_trace(padded, name, options);
  LengthTable out;
  for (const WorkloadRequest& request : workload.requests) {
    out.rows.push_back(
        {request.input_tokens, request.output_tokens, static_cast<double>(out.rows.size() + 1)});
  }
  return out;
}

}  // namespace

LengthTable parse_lengths(std::string_view text, const std::string& name) {
  const simdjson::padded_string padded(text);
  return lengths_of(std::string_view(padded.data(), padded.size()), name);
}

LengthTable load_lengths(const std::string& path) {
  simdjson::padded_string text;
  if (simdjson::padded_string::load(path).get(text) != simdjson::SUCCESS) {
    throw Error(ErrorKind::bad_input, {{"cannot read the lengths",
                                        Where{path, 0, 0, {}},
                                        "is it there, and a file that may be read?",
                                        {}}});
  }
  return lengths_of(std::string_view(text.data(), text.size()), path);
}

}  // namespace dyn::sim
