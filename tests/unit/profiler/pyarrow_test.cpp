// Our reader against PyArrow's, over the published tables. Skipped unless DYN_AICONFIGURATOR names
// the unpacked package and DYN_PYTHON (default python3) has pyarrow.

#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>

#include "dyn/profiler/parquet.h"

namespace dyn::profiler {
namespace {

/// One line a column: its rows, the sum of numbers or of the lengths of texts, and how many there
/// are that are not null.
constexpr const char* kSummary =
    "import sys, pyarrow.parquet as pq, pyarrow.compute as pc, pyarrow as pa\n"
    "for path in sys.argv[1:]:\n"
    "    table = pq.read_table(path)\n"
    "    for name in table.column_names:\n"
    "        c = table.column(name)\n"
    "        text = pa.types.is_string(c.type) or pa.types.is_large_string(c.type)\n"
    "        v = pc.binary_length(c) if text else c.cast(pa.float64())\n"
    "        print(len(c), repr(float(pc.sum(v).as_py() or 0)), len(c) - c.null_count)\n";

std::string output_of(const std::string& command) {
  std::string text;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) {
    return text;
  }
  std::array<char, 4096> buffer{};
  while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    text.append(buffer.data(), n);
  }
  return ::pclose(pipe) == 0 ? text : std::string();
}

std::string python() {
  const char* named = std::getenv("DYN_PYTHON");
  return named != nullptr ? named : "python3";
}

TEST_CASE("The Parquet reader reads what PyArrow reads") {
  const char* folder = std::getenv("DYN_AICONFIGURATOR");
  if (folder == nullptr) {
    WARN("skipped: DYN_AICONFIGURATOR does not name the unpacked aiconfigurator-core");
    return;
  }
  if (output_of(python() + " -c 'import pyarrow; print(1)' 2>/dev/null").empty()) {
    WARN("skipped: " + python() + " has no pyarrow; DYN_PYTHON names another");
    return;
  }
  std::vector<std::string> files;
  std::size_t seen = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    // Most tables are alike: every seventh, and all small ones.
    if (entry.path().extension() == ".parquet" && (++seen % 7 == 0 || entry.file_size() < 20'000)) {
      files.push_back(entry.path());
    }
  }
  REQUIRE(!files.empty());
  std::string command = python() + " -c \"" + kSummary + "\"";
  for (const std::string& file : files) {
    command += " '" + file + "'";
  }
  std::istringstream expected(output_of(command));
  for (const std::string& file : files) {
    INFO(file);
    for (const TableColumn& column : read_parquet(file).columns) {
      INFO(column.name);
      std::size_t rows = 0;
      double sum = 0;
      std::size_t present = 0;
      REQUIRE(static_cast<bool>(expected >> rows >> sum >> present));
      double ours = 0;
      std::size_t numbers = 0;
      for (const double value : column.numbers) {
        ours += std::isnan(value) ? 0 : value;
        numbers += std::isnan(value) ? 0 : 1;
      }
      for (const std::uint32_t code : column.codes) {
        ours += static_cast<double>(column.dictionary[code].size());
      }
      REQUIRE((column.text ? column.codes.size() : column.numbers.size()) == rows);
      REQUIRE(ours == Approx(sum).epsilon(1e-9));
      if (!column.text) {
        REQUIRE(numbers == present);
      }
    }
  }
}

}  // namespace
}  // namespace dyn::profiler
