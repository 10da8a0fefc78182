#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dyn::eval {

/// One field of a CSV record and where it begins, counted from 1.
struct CsvCell {
  std::string text;
  int line = 0;
  int column = 0;
};

using CsvRecord = std::vector<CsvCell>;

/// RFC 4180: fields may be quoted, quotes in them are doubled, records end with LF or CRLF. Empty
/// lines are left out. Throws Error(bad_input) with file:line:column for a quote that is never
/// closed, or text after a closing one.
std::vector<CsvRecord> parse_csv(std::string_view text, const std::string& name);

/// A field for a CSV file: quoted where it must be.
std::string csv_field(const std::string& text);

}  // namespace dyn::eval
