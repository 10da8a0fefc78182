// Traces as tables: Azure's (and Splitwise's and Vidur's forms of them), BurstGPT's, and tables of
// lengths alone. Columns are found by their headings.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <unordered_map>

#include "trace_builder.h"

namespace dyn::sim {
namespace {

/// One cell: its text without blanks and quotes around, within the text of the trace.
using Cell = std::string_view;

Cell trimmed(Cell cell) {
  const std::size_t first = cell.find_first_not_of(" \t\"");
  if (first == Cell::npos) {
    return cell.substr(0, 0);
  }
  return cell.substr(first, cell.find_last_not_of(" \t\"") - first + 1);
}

std::vector<Cell> cells_of(std::string_view line) {
  std::vector<Cell> out;
  std::size_t begin = 0;
  bool quoted = false;
  for (std::size_t i = 0; i <= line.size(); ++i) {
    if (i < line.size() && line[i] == '"') {
      quoted = !quoted;
    } else if (i == line.size() || (line[i] == ',' && !quoted)) {
      out.push_back(trimmed(line.substr(begin, i - begin)));
      begin = i + 1;
    }
  }
  return out;
}

std::string lower(Cell text) {
  std::string out(text);
  for (char& c : out) {
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return out;
}

/// A table with a heading.
class Table {
 public:
  explicit Table(TraceText& text) : text_(text) {
    if (const auto line = text.next_line()) {
      heading_at_ = line->data();
      for (const Cell cell : cells_of(*line)) {
        headings_.push_back(lower(cell));
      }
    }
  }

  /// The index of the column of one of these names, in lower case.
  std::optional<std::size_t> column(std::initializer_list<const char*> names) const {
    for (const char* name : names) {
      const auto found = std::find(headings_.begin(), headings_.end(), name);
      if (found != headings_.end()) {
        return static_cast<std::size_t>(found - headings_.begin());
      }
    }
    return std::nullopt;
  }
  std::optional<std::size_t> needed(std::initializer_list<const char*> names) {
    const auto found = column(names);
    if (!found) {
      text_.complain(heading_at_, {},
                     fmt::format("the heading has no column '{}'", *names.begin()));
    }
    return found;
  }

  /// The next row; it has as many cells as the heading.
  std::optional<std::vector<Cell>> next() {
    while (const auto line = text_.next_line()) {
      std::vector<Cell> cells = cells_of(*line);
      if (cells.size() == headings_.size()) {
        return cells;
      }
      text_.complain(line->data(), {},
                     fmt::format("expected {} columns, as the heading has, got {}",
                                 headings_.size(), cells.size()));
    }
    return std::nullopt;
  }
  std::string path(std::size_t column) const { return '/' + headings_[column]; }

 private:
  TraceText& text_;
  const char* heading_at_ = nullptr;
  std::vector<std::string> headings_;
};

template <class T>
bool parse(Cell cell, T& out) {
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), out);
  return error == std::errc() && end == cell.data() + cell.size();
}

/// Days from 1970-01-01. Source: Hinnant, "chrono-compatible low-level date algorithms".
std::int64_t days_of(int year, int month, int day) {
  year -= month <= 2 ? 1 : 0;
  const int era = (year >= 0 ? year : year - 399) / 400;
  const int of_era = year - era * 400;
  const int of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return std::int64_t{era} * 146'097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719'468;
}

/// A point in time: seconds, or a date and time such as 2023-11-16 18:15:46.6805900. Nanoseconds.
std::optional<std::int64_t> time_of(Cell cell) {
  double seconds = 0;
  if (parse(cell, seconds)) {
    if (!(seconds >= 0 && seconds <= 1e10)) {
      return std::nullopt;
    }
    return static_cast<std::int64_t>(std::llround(std::min(seconds, 9e9) * 1e9));
  }
  int part[5] = {};
  static constexpr std::size_t kBegin[5] = {0, 5, 8, 11, 14};
  static constexpr std::size_t kLength[5] = {4, 2, 2, 2, 2};
  if (cell.size() < 19 || cell[4] != '-' || cell[7] != '-' ||
      (cell[10] != ' ' && cell[10] != 'T') || cell[13] != ':' || cell[16] != ':') {
    return std::nullopt;
  }
  for (int i = 0; i < 5; ++i) {
    if (!parse(cell.substr(kBegin[i], kLength[i]), part[i]) || part[i] < 0) {
      return std::nullopt;
    }
  }
  Cell rest = cell.substr(17);
  if (rest.ends_with('Z')) {
    rest.remove_suffix(1);
  } else if (rest.ends_with("+00:00")) {
    rest.remove_suffix(6);
  }
  if (!parse(rest, seconds) || !(seconds >= 0 && seconds < 61) || part[0] < 1970 ||
      part[0] > 2200 || part[1] < 1 || part[1] > 12 || part[2] < 1 || part[2] > 31 ||
      part[3] > 23 || part[4] > 59) {
    return std::nullopt;
  }
  const std::int64_t minutes = (days_of(part[0], part[1], part[2]) * 24 + part[3]) * 60 + part[4];
  return minutes * 60'000'000'000 + static_cast<std::int64_t>(std::llround(seconds * 1e9));
}

/// Reads rows with an arrival and two lengths.
class RowReader {
 public:
  RowReader(TraceText& text, const TraceOptions& options)
      : text_(text), table_(text), out_(text, options, kBlock) {}

  /// Rows whose lengths are 0 are left out: requests that failed.
  Workload read(std::optional<std::size_t> time, std::optional<std::size_t> input,
                std::optional<std::size_t> output, bool skip_zeros,
                std::optional<std::size_t> session) {
    if (time && input && output) {
      while (const auto row = table_.next()) {
        read_row(*row, *time, *input, *output, skip_zeros, session);
      }
    }
    out_.has_times();
    return out_.finish();
  }
  Table& table() { return table_; }

 private:
  static constexpr std::int32_t kBlock = 512;

  bool read_tokens(const std::vector<Cell>& row, std::size_t column, std::int64_t& tokens) {
    if (!parse(row[column], tokens)) {
      text_.complain(row[column].data(), table_.path(column), "expected a whole number of tokens");
      return false;
    }
    return true;
  }

  void read_row(const std::vector<Cell>& row, std::size_t time, std::size_t input,
                std::size_t output, bool skip_zeros, std::optional<std::size_t> session) {
    TraceRequest request;
    request.at = row[input].data();
    request.path = table_.path(input);
    request.arrival_at = row[time].data();
    const std::optional<std::int64_t> at = time_of(row[time]);
    if (!at) {
      text_.complain(row[time].data(), table_.path(time), "expected seconds or a date and time");
      return;
    }
    if (!read_tokens(row, input, request.input_tokens) ||
        !read_tokens(row, output, request.output_tokens)) {
      return;
    }
    start_ = start_.value_or(*at);
    if (skip_zeros && (request.input_tokens == 0 || request.output_tokens == 0)) {
      return;
    }
    if (!out_.check_tokens(request.input_tokens, request.at, request.path) ||
        !out_.check_tokens(request.output_tokens, row[output].data(), table_.path(output))) {
      return;
    }
    request.arrival = SimTime(Duration(*at - *start_));
    request.arrival_path = table_.path(time);
    add(request, session ? row[*session] : Cell{});
  }

  void add(const TraceRequest& request, Cell session) {
    if (session.empty()) {
      out_.add(request, {}, out_.new_session());
      return;
    }
    const auto [entry, is_new] =
        sessions_.try_emplace(std::string(session), 0, TraceBuilder::kNone);
    auto& [number, last] = entry->second;
    if (last != TraceBuilder::kNone) {
      last = out_.add_after(last, Duration{0}, request, {}, number);
    } else {
      number = out_.new_session();
      last = out_.add(request, {}, number);
    }
  }

  TraceText& text_;
  Table table_;
  TraceBuilder out_;
  std::optional<std::int64_t> start_;
  // Looked up only, never iterated.
  std::unordered_map<std::string, std::pair<std::uint32_t, std::uint32_t>> sessions_;
};

}  // namespace

Workload read_azure(TraceText& text, const TraceOptions& options) {
  RowReader reader(text, options);
  Table& table = reader.table();
  return reader.read(table.needed({"timestamp", "arrived_at"}),
                     table.needed({"contexttokens", "num_prefill_tokens"}),
                     table.needed({"generatedtokens", "num_decode_tokens"}), false, std::nullopt);
}

Workload read_burst_gpt(TraceText& text, const TraceOptions& options) {
  RowReader reader(text, options);
  Table& table = reader.table();
  return reader.read(table.needed({"timestamp"}), table.needed({"request tokens"}),
                     table.needed({"response tokens"}), true, table.column({"session id"}));
}

LengthTable read_length_table(TraceText& text) {
  Table table(text);
  const auto input = table.needed({"input_tokens", "input_length", "num_prefill_tokens",
                                   "contexttokens", "request tokens", "isl"});
  const auto output = table.needed({"output_tokens", "output_length", "num_decode_tokens",
                                    "generatedtokens", "response tokens", "osl"});
  const auto count = table.column({"count", "weight"});
  LengthTable out;
  double sum = 0;
  while (input && output) {
    const auto row = table.next();
    if (!row) {
      break;
    }
    LengthTable::Row made;
    double weight = 1;
    const auto bad = [&](std::size_t column, const char* expected) {
      text.complain((*row)[column].data(), table.path(column), expected);
    };
    if (!parse((*row)[*input], made.input_tokens) || made.input_tokens < 1 ||
        made.input_tokens > kMaxTraceTokens) {
      bad(*input, "expected 1 to 100000000 tokens");
    } else if (!parse((*row)[*output], made.output_tokens) || made.output_tokens < 1 ||
               made.output_tokens > kMaxTraceTokens) {
      bad(*output, "expected 1 to 100000000 tokens");
    } else if (count && (!parse((*row)[*count], weight) || !(weight >= 0 && weight <= 1e15))) {
      bad(*count, "expected a count >= 0");
    } else if (weight > 0) {
      sum += weight;
      made.up_to = sum;
      out.rows.push_back(made);
    }
  }
  if (text.errors() == 0 && out.rows.empty()) {
    text.complain(nullptr, {}, "the table holds no lengths");
  }
  text.throw_if_any();
  return out;
}

}  // namespace dyn::sim
