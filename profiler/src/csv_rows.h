#pragma once

#include <string>
#include <string_view>

#include "dyn/profiler/parquet.h"

namespace dyn::profiler {

/// A CSV file as a table: a header, then a row a line, no quotes. A column whose every cell is a
/// number is one of numbers, NaN where a cell is empty; any other is one of texts. Throws
/// Error(bad_input) with the file and the row for one with another count of cells than the header,
/// for a name that the header has twice, and for a file without rows or that cannot be read. The
/// last row needs no line break.
Table read_csv(const std::string& path);
Table parse_csv(std::string_view text, const std::string& file);

}  // namespace dyn::profiler
