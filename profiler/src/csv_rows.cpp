#include "csv_rows.h"

#include <charconv>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <vector>

#include "dyn/core/error.h"

namespace dyn::profiler {
namespace {

using Cells = std::vector<std::string_view>;

Cells cells_of(std::string_view line) {
  Cells cells;
  for (std::size_t from = 0;;) {
    const std::size_t comma = line.find(',', from);
    cells.push_back(line.substr(from, comma - from));
    if (comma == std::string_view::npos) {
      return cells;
    }
    from = comma + 1;
  }
}

[[noreturn]] void refuse(const std::string& file, std::size_t row, const std::string& what) {
  const std::string where = row > 0 ? "row " + std::to_string(row) + ": " : "";
  throw Error(ErrorKind::bad_input, {{where + what, Where{file, 0, 0, {}}, "", {}}});
}

/// A number; NaN for an empty cell.
bool number_of(std::string_view cell, double& value) {
  if (cell.empty()) {
    value = std::numeric_limits<double>::quiet_NaN();
    return true;
  }
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  return error == std::errc() && end == cell.data() + cell.size();
}

TableColumn column_of(std::string_view name, const std::vector<Cells>& rows, std::size_t index) {
  TableColumn column;
  column.name = std::string(name);
  for (const Cells& row : rows) {
    double value = 0;
    if (!number_of(row[index], value)) {
      column.text = true;
      column.numbers.clear();
      break;
    }
    column.numbers.push_back(value);
  }
  if (column.text) {
    std::map<std::string_view, std::uint32_t> codes;
    for (const Cells& row : rows) {
      const auto [at, fresh] =
          codes.try_emplace(row[index], static_cast<std::uint32_t>(codes.size()));
      if (fresh) {
        column.dictionary.emplace_back(row[index]);
      }
      column.codes.push_back(at->second);
    }
  }
  return column;
}

}  // namespace

Table parse_csv(std::string_view text, const std::string& file) {
  std::vector<Cells> rows;
  Cells header;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const bool whole = end < text.size();  // else the last line, without a line break
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) {
      line.remove_suffix(1);
    }
    if (line.empty()) {
      continue;
    }
    if (header.empty()) {
      header = cells_of(line);
      continue;
    }
    rows.push_back(cells_of(line));
    if (rows.back().size() != header.size()) {
      refuse(file, rows.size(),
             "has " + std::to_string(rows.back().size()) + " cells, the header " +
                 std::to_string(header.size()) + (whole ? "" : "; is the file truncated?"));
    }
  }
  if (rows.empty()) {
    refuse(file, 0, "has no rows");
  }
  Table table;
  table.file = file;
  table.rows = rows.size();
  for (std::size_t i = 0; i < header.size(); ++i) {
    if (table.find(header[i]) != nullptr) {
      refuse(file, 0, "has two columns '" + std::string(header[i]) + "'");
    }
    table.columns.push_back(column_of(header[i], rows, i));
  }
  return table;
}

Table read_csv(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    refuse(path, 0, "cannot be read");
  }
  std::ostringstream text;
  text << file.rdbuf();
  return parse_csv(text.str(), path);
}

}  // namespace dyn::profiler
