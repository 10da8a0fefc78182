#include "dyn/core/json_writer.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <utility>
#include <vector>

#include "dyn/core/check.h"
#include "dyn/core/error.h"
#include "dyn/core/quantity_text.h"

namespace dyn {

std::string json_quote(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        quoted += "\\\"";
        break;
      case '\\':
        quoted += "\\\\";
        break;
      case '\n':
        quoted += "\\n";
        break;
      case '\r':
        quoted += "\\r";
        break;
      case '\t':
        quoted += "\\t";
        break;
      default:
        if (const auto byte = static_cast<unsigned char>(c); byte < 0x20 || byte == 0x7F) {
          char escape[8];
          std::snprintf(escape, sizeof escape, "\\u%04x", byte);
          quoted += escape;
        } else {
          quoted += c;
        }
    }
  }
  return quoted + '"';
}

namespace {

// A list of this many numbers is data, not something to read line by line.
constexpr std::size_t kLongList = 8;

bool is_number(const std::string& part) {
  return !part.empty() && (part[0] == '-' || (part[0] >= '0' && part[0] <= '9'));
}

/// The parts, as many a line as fit.
std::string fill(const std::vector<std::string>& parts, const std::string& new_line,
                 std::size_t width) {
  std::string text;
  std::size_t column = width;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    text += i == 0 ? "" : ",";
    if (column + parts[i].size() + 2 > width) {
      text += new_line;
      column = new_line.size() - 1;
    } else {
      text += ' ';
      ++column;
    }
    text += parts[i];
    column += parts[i].size() + 1;
  }
  return text;
}

}  // namespace

void JsonWriter::append(std::string part) {
  part.insert(0, std::exchange(key_, {}));
  if (open_.empty()) {
    result_ = std::move(part);
    return;
  }
  Open& open = open_.back();
  open.width += part.size() + 2;
  open.multiline = open.multiline || part.find('\n') != std::string::npos;
  open.parts.push_back(std::move(part));
}

void JsonWriter::null() {
  append("null");
}
void JsonWriter::boolean(bool value) {
  append(value ? "true" : "false");
}
void JsonWriter::integer(std::int64_t value) {
  append(std::to_string(value));
}
void JsonWriter::whole(std::uint64_t value) {
  append(std::to_string(value));
}

void JsonWriter::number(double value) {
  if (!std::isfinite(value)) {
    throw Error(ErrorKind::bug, "a number to be written as JSON is not finite");
  }
  append(shortest(value));
}

void JsonWriter::text(std::string_view value) {
  append(json_quote(value));
}
void JsonWriter::key(std::string_view key) {
  key_ = json_quote(key) + ": ";
}

void JsonWriter::begin_object() {
  open_.push_back(Open{true, std::exchange(key_, {}), {}});
}
void JsonWriter::begin_list() {
  open_.push_back(Open{false, std::exchange(key_, {}), {}});
}
void JsonWriter::end_object() {
  close('{', '}');
}
void JsonWriter::end_list() {
  close('[', ']');
}

void JsonWriter::close(char begin, char end) {
  DYN_ASSERT(!open_.empty(), "an end for every beginning");
  Open open = std::move(open_.back());
  open_.pop_back();
  const std::size_t indent = 2 * open_.size();
  const bool one_line = width_ == std::numeric_limits<std::size_t>::max() || open.parts.empty() ||
                        (!open.multiline && !(open_.empty() && open.object) &&
                         indent + open.key.size() + open.width + 1 <= width_);
  std::string text(1, begin);
  const std::string new_line = '\n' + std::string(indent + 2, ' ');
  if (!one_line && !open.object && open.parts.size() >= kLongList &&
      std::all_of(open.parts.begin(), open.parts.end(), is_number)) {
    text += fill(open.parts, new_line, width_);
  } else {
    const std::string separator = one_line ? ", " : ',' + new_line;
    text += one_line ? "" : new_line;
    for (std::size_t i = 0; i < open.parts.size(); ++i) {
      text += (i == 0 ? "" : separator) + open.parts[i];
    }
  }
  if (!one_line) {
    text += '\n' + std::string(indent, ' ');
  }
  key_ = std::move(open.key);
  append(text + end);
}

std::string JsonWriter::finish() {
  DYN_ASSERT(open_.empty(), "what was begun is ended");
  return std::exchange(result_, {});
}

}  // namespace dyn
