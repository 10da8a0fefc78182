#include "csv_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <sstream>

#include "dyn/core/error.h"

namespace dyn::perf {

namespace {

[[noreturn]] void fail_at(const std::string& path, int line, const std::string& message,
                          const std::string& column = {}) {
  ErrorItem item;
  item.message = message;
  item.where = Where{path, line, 0, column};
  throw Error(ErrorKind::bad_input, {item});
}

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> cells;
  while (true) {
    const std::size_t comma = line.find(',');
    cells.push_back(line.substr(0, comma));
    if (comma == std::string_view::npos) {
      return cells;
    }
    line.remove_prefix(comma + 1);
  }
}

}  // namespace

CsvTable::CsvTable(std::string path, std::vector<std::string> columns)
    : path_(std::move(path)), columns_(std::move(columns)) {
  std::ifstream file(path_, std::ios::binary);
  if (!file) {
    fail_at(path_, 0, "cannot be read");
  }
  std::ostringstream buffer;
  buffer << file.rdbuf();
  text_ = std::move(buffer).str();

  std::vector<std::size_t> order;
  std::size_t width = 0;
  int number = 0;
  std::string_view rest = text_;
  while (!rest.empty()) {
    ++number;
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (!line.empty() && line.back() == '\r') {
      line.remove_suffix(1);
    }
    if (line.empty()) {
      continue;
    }
    const std::vector<std::string_view> cells = split(line);
    if (width == 0) {
      width = cells.size();
      for (const std::string& column : columns_) {
        const auto found = std::find(cells.begin(), cells.end(), column);
        if (found == cells.end()) {
          fail_at(path_, number, "the header has no column '" + column + "'");
        }
        order.push_back(static_cast<std::size_t>(found - cells.begin()));
      }
      continue;
    }
    if (cells.size() != width) {
      fail_at(path_, number,
              "expected " + std::to_string(width) + " cells as in the header, got " +
                  std::to_string(cells.size()));
    }
    std::vector<std::string_view>& row = cells_.emplace_back();
    for (const std::size_t index : order) {
      row.push_back(cells[index]);
    }
    lines_.push_back(number);
  }
  if (cells_.empty()) {
    fail_at(path_, number, "has no rows");
  }
}

std::string_view CsvTable::cell(std::size_t row, std::size_t column) const {
  return cells_[row][column];
}

double CsvTable::number(std::size_t row, std::size_t column) const {
  const std::string_view text = cell(row, column);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) ||
      value < 0) {
    fail(row, column, "expected a finite number >= 0, got '" + std::string(text) + "'");
  }
  return value;
}

void CsvTable::fail(std::size_t row, std::size_t column, const std::string& message) const {
  fail_at(path_, lines_[row], message, "/" + columns_[column]);
}

}  // namespace dyn::perf
