#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace dyn::profiler {

/// One column of a table: numbers, or texts as codes into a dictionary.
struct TableColumn {
  std::string name;
  bool text = false;
  std::vector<double> numbers;       ///< one a row; NaN where there is none
  std::vector<std::uint32_t> codes;  ///< one a row, into `dictionary`
  std::vector<std::string> dictionary;
};

/// A table in memory, column by column. Every column has `rows` values.
struct Table {
  std::string file;
  std::size_t rows = 0;
  std::vector<TableColumn> columns;

  /// The column of that name, or null.
  const TableColumn* find(std::string_view name) const;
};

/// Reads a flat Parquet file: no nesting; pages of version 1 and 2; PLAIN, RLE, RLE_DICTIONARY and
/// PLAIN_DICTIONARY; ZSTD, Snappy or uncompressed; BOOLEAN, INT32, INT64, FLOAT, DOUBLE and
/// BYTE_ARRAY. Integers beyond 2^53 lose their low bits; a missing text is empty. Throws
/// Error(bad_input) with the file's name for anything else, for what is malformed or truncated, and
/// beyond 4 million rows or 1,000 columns.
/// Source: the Apache Parquet format specification 2.10, Thrift's compact protocol.
Table read_parquet(const std::string& path);
Table parse_parquet(std::string_view bytes, const std::string& file);

}  // namespace dyn::profiler
