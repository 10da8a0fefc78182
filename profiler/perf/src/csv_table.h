#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dyn::perf {

/// A small CSV file with a header: plain cells, no quoting. Errors name file, line and column.
class CsvTable {
 public:
  /// Reads the whole file. Throws Error(bad_input) if it cannot be read, is empty, a row has
  /// another number of cells than the header, or one of `columns` is missing.
  CsvTable(std::string path, std::vector<std::string> columns);

  std::size_t rows() const { return lines_.size(); }
  /// The cell of the column at that place in `columns`.
  std::string_view cell(std::size_t row, std::size_t column) const;
  /// The same as a finite number >= 0; throws Error(bad_input) otherwise.
  double number(std::size_t row, std::size_t column) const;
  const std::string& path() const { return path_; }

  /// Throws Error(bad_input) at that row and column.
  [[noreturn]] void fail(std::size_t row, std::size_t column, const std::string& message) const;

 private:
  std::string path_;
  std::string text_;
  std::vector<std::string> columns_;
  std::vector<std::vector<std::string_view>> cells_;  // in the order of columns_
  std::vector<int> lines_;
};

}  // namespace dyn::perf
