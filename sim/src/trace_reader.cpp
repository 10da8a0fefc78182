#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <string_view>

#include "dyn/core/error.h"
#include "dyn/sim/workload.h"
#include "trace_builder.h"
#include "trace_plain.h"

namespace dyn::sim {
namespace {

namespace ondemand = simdjson::ondemand;

constexpr std::size_t kMaxErrors = 20;

/// What one line must say. `column` is where the value begins, for errors about it.
struct Field {
  const char* name;
  bool seen = false;
  int column = 0;
};

class TraceReader {
 public:
  explicit TraceReader(std::string name) : name_(std::move(name)) {
    out_.block_tokens = kMooncakeBlock;
  }

  /// The text has SIMDJSON_PADDING bytes after its end.
  Workload read(std::string_view text);

 private:
  enum { timestamp, input_length, output_length, hash_ids, fields };

  void read_line(std::string_view line, std::size_t readable);
  void read_object(std::string_view line, ondemand::object object);
  bool read_field(std::string_view key, std::string_view line, ondemand::value value);
  void read_time(ondemand::value value);
  void read_length(int field, ondemand::value value, std::int64_t& length);
  void read_hashes(ondemand::value value);
  void finish_line();
  void complain(std::string message, const char* field = nullptr, int column = 0,
                std::string hint = {});
  void complain_about(int field, std::string message, std::string hint = {}) {
    complain(std::move(message), fields_[field].name, fields_[field].column, std::move(hint));
  }
  bool line_failed() const { return errors_.size() > errors_before_; }

  std::string name_;
  const kvbm::BlockHash root_ = mooncake_root();
  Workload out_;
  ondemand::parser parser_;
  std::vector<ErrorItem> errors_;
  std::size_t errors_before_ = 0;
  int line_ = 0;
  WorkloadRequest request_;
  Field fields_[fields] = {{"timestamp"}, {"input_length"}, {"output_length"}, {"hash_ids"}};
};

void TraceReader::complain(std::string message, const char* field, int column, std::string hint) {
  Where where{name_, line_, column, field ? fmt::format("/{}", field) : std::string()};
  errors_.push_back({std::move(message), std::move(where), std::move(hint), {}});
}

Workload TraceReader::read(std::string_view text) {
  const char* at = text.data();
  const char* const end = at + text.size();
  if (text.size() >= 3 && std::memcmp(at, "\xef\xbb\xbf", 3) == 0) {
    at += 3;
  }
  out_.requests.reserve(text.size() / 200);
  out_.blocks.reserve(text.size() / 8);
  while (at < end && errors_.size() < kMaxErrors) {
    const void* newline = std::memchr(at, '\n', static_cast<std::size_t>(end - at));
    const char* const stop = newline ? static_cast<const char*>(newline) : end;
    ++line_;
    const std::string_view line(at, static_cast<std::size_t>(stop - at));
    if (line.find_first_not_of(" \t\r") != std::string_view::npos &&
        !add_plain_line(line, root_, out_)) {
      read_line(line, static_cast<std::size_t>(end - at) + simdjson::SIMDJSON_PADDING);
    }
    at = stop + 1;
  }
  if (errors_.empty() && out_.requests.empty()) {
    throw Error(ErrorKind::bad_input,
                {{"the trace holds no requests", Where{name_, 0, 0, {}}, {}, {}}});
  }
  if (!errors_.empty()) {
    throw Error(ErrorKind::bad_input, std::move(errors_));
  }
  return std::move(out_);
}

void TraceReader::read_line(std::string_view line, std::size_t readable) {
  errors_before_ = errors_.size();
  request_ = {};
  request_.first_block = static_cast<std::uint32_t>(out_.blocks.size());
  for (Field& field : fields_) {
    field.seen = false;
    field.column = 0;
  }
  try {
    ondemand::document document =
        parser_.iterate(simdjson::padded_string_view(line.data(), line.size(), readable));
    ondemand::object object = document.get_object();
    read_object(line, object);
    const char* rest = nullptr;
    if (!line_failed() && document.current_location().get(rest) == simdjson::SUCCESS &&
        rest < line.data() + line.size()) {
      complain("more than one JSON value on the line");
    }
  } catch (const simdjson::simdjson_error& error) {
    complain(fmt::format("not a JSON object: {}", error.what()), nullptr, 0,
             "expected {\"timestamp\": ms, \"input_length\": n, \"output_length\": n, "
             "\"hash_ids\": [...]} on one line");
  }
  if (line_failed()) {
    out_.blocks.resize(request_.first_block);
    return;
  }
  finish_line();
}

void TraceReader::read_object(std::string_view line, ondemand::object object) {
  for (auto field : object) {
    const std::string_view key = field.unescaped_key();
    ondemand::value value = field.value();
    if (!read_field(key, line, value)) {
      return;  // the iterator is lost inside a value that could not be read
    }
  }
}

/// Reads a field that is known, and lets others (session_id, delay, ...) pass. False if the
/// rest of the line cannot be read.
bool TraceReader::read_field(std::string_view key, std::string_view line, ondemand::value value) {
  int index = 0;
  while (index < fields && key != fields_[index].name) {
    ++index;
  }
  if (index == fields) {
    return true;
  }
  Field& field = fields_[index];
  const char* const token = value.raw_json_token().data();
  field.column = static_cast<int>(token - line.data()) + 1;
  if (field.seen) {
    complain_about(index, "given twice");
    return false;
  }
  field.seen = true;
  const std::size_t before = errors_.size();
  switch (index) {
    case timestamp:
      read_time(value);
      break;
    case input_length:
      read_length(index, value, request_.input_tokens);
      break;
    case output_length:
      read_length(index, value, request_.output_tokens);
      break;
    case hash_ids:
      read_hashes(value);
      break;
  }
  return errors_.size() == before;
}

void TraceReader::read_time(ondemand::value value) {
  double millis = 0;
  if (value.get_double().get(millis) != simdjson::SUCCESS) {
    complain_about(timestamp, "expected a number of milliseconds");
  } else if (!(millis >= 0 && millis <= kMaxMooncakeMillis)) {
    complain_about(timestamp,
                   fmt::format("expected 0 to {:.0f} ms, got {}", kMaxMooncakeMillis, millis));
  } else {
    request_.arrival = SimTime(Duration(std::llround(millis * 1e6)));
  }
}

void TraceReader::read_length(int field, ondemand::value value, std::int64_t& length) {
  if (value.get_int64().get(length) != simdjson::SUCCESS) {
    complain_about(field, "expected a whole number of tokens");
  } else if (length < 1 || length > std::int64_t{kMaxMooncakeTokens}) {
    complain_about(field,
                   fmt::format("expected 1 to {} tokens, got {}", kMaxMooncakeTokens, length));
  }
}

void TraceReader::read_hashes(ondemand::value value) {
  ondemand::array ids;
  if (value.get_array().get(ids) != simdjson::SUCCESS) {
    complain_about(hash_ids, "expected a list of block ids");
    return;
  }
  kvbm::BlockHash hash = root_;
  for (auto item : ids) {
    std::uint64_t id = 0;
    const simdjson::error_code error = item.get_uint64().get(id);
    if (error == simdjson::INCORRECT_TYPE || error == simdjson::NUMBER_ERROR ||
        error == simdjson::NUMBER_OUT_OF_RANGE) {
      complain_about(hash_ids, fmt::format("block id {} is not a whole number >= 0",
                                           out_.blocks.size() - request_.first_block + 1));
      return;
    }
    if (error != simdjson::SUCCESS) {
      throw simdjson::simdjson_error(error);
    }
    hash = kvbm::chain(hash, id);
    out_.blocks.push_back(hash);
  }
}

void TraceReader::finish_line() {
  for (const Field& field : fields_) {
    if (!field.seen) {
      complain(fmt::format("'{}' is missing", field.name));
    }
  }
  if (line_failed()) {
    out_.blocks.resize(request_.first_block);
    return;
  }
  const std::size_t count = out_.blocks.size() - request_.first_block;
  const auto expected =
      static_cast<std::size_t>((request_.input_tokens + kMooncakeBlock - 1) / kMooncakeBlock);
  if (count != 0 && count != expected) {
    complain_about(hash_ids,
                   fmt::format("{} tokens are {} blocks of {}, got {} ids", request_.input_tokens,
                               expected, kMooncakeBlock, count),
                   "one id for each 512 tokens, the partial last block included; [] if unknown");
  } else if (!out_.requests.empty() && request_.arrival < out_.requests.back().arrival) {
    complain_about(timestamp, "goes back in time", "sort the lines by timestamp");
  } else if (!has_room(out_)) {
    complain("the trace is too large");
  }
  if (line_failed()) {
    out_.blocks.resize(request_.first_block);
    return;
  }
  request_.block_count = static_cast<std::uint32_t>(count);
  out_.requests.push_back(request_);
}

}  // namespace

Workload read_mooncake(std::string_view text, const std::string& name) {
  return TraceReader(name).read(text);
}

}  // namespace dyn::sim
