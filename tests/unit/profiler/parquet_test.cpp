#include "dyn/profiler/parquet.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <sstream>

#include "dyn/core/error.h"
#include "paths.h"

namespace dyn::profiler {
namespace {

std::string corpus(const std::string& name) {
  return test::source_path("tests/fuzz/corpus/parquet_fuzz/" + name + ".parquet").string();
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool refused(std::string_view bytes) {
  try {
    (void)parse_parquet(bytes, "some.parquet");
  } catch (const Error& error) {
    return error.kind() == ErrorKind::bad_input &&
           std::string(error.what()).find("some.parquet") != std::string::npos;
  }
  return false;
}

TEST_CASE("A table reads the same whatever its codec, encoding, page version and row groups are") {
  for (const char* name : {"zstd", "snappy", "plain", "pages_v2", "groups", "v2_plain"}) {
    INFO(name);
    const Table table = read_parquet(corpus(name));
    REQUIRE(table.rows == 6);
    REQUIRE(table.columns.size() == 6);
    const TableColumn* text = table.find("name");
    REQUIRE((text != nullptr && text->text));
    const auto word = [&](std::size_t row) { return text->dictionary[text->codes[row]]; };
    CHECK(word(0) == "a");
    CHECK(word(1) == "b");
    CHECK(word(3).empty());
    CHECK(word(4) == "a");
    CHECK(table.find("count")->numbers == std::vector<double>{1, 2, 3, 4, 5, 6});
    CHECK(table.find("small")->numbers == std::vector<double>{1, -2, 3, -4, 5, -6});
    CHECK(table.find("ratio")->numbers == std::vector<double>{0.5, 0.25, 1, 2, 3, 4});
    const std::vector<double>& latency = table.find("latency")->numbers;
    CHECK(latency[1] == 1.25);
    CHECK(std::isnan(latency[2]));
    CHECK(latency[4] == 1e-9);
    CHECK(latency[5] == 3e8);
    const std::vector<double>& flag = table.find("flag")->numbers;
    CHECK(flag[0] == 1);
    CHECK(flag[1] == 0);
    CHECK(std::isnan(flag[5]));
    CHECK(table.find("latencies") == nullptr);
  }
}

TEST_CASE("A table without rows has its columns") {
  const Table table = read_parquet(corpus("no_rows"));
  CHECK(table.rows == 0);
  CHECK(table.columns.size() == 1);
}

TEST_CASE("A file that is nested, empty, of something else or not there is refused by its name") {
  CHECK(refused(bytes_of(corpus("nested"))));
  CHECK(refused(""));
  CHECK(refused("PAR1PAR1"));
  CHECK(refused(std::string(4096, 'x')));
  CHECK_THROWS_AS(read_parquet("/nonexistent.parquet"), Error);
  CHECK_THROWS_WITH(read_parquet("/nonexistent.parquet"), Catch::Contains("cannot be read"));
  CHECK_THROWS_WITH(read_parquet("/dev/null"), Catch::Contains("is empty"));
  CHECK_THROWS_WITH(parse_parquet(std::string(4096, 'x'), ""),
                    Catch::Contains("it is not a Parquet file"));
  CHECK_THROWS_WITH(parse_parquet(bytes_of(corpus("nested")), ""),
                    Catch::Contains("is nested; only flat tables can be read"));
}

TEST_CASE("A file that is cut off anywhere is refused") {
  const std::string whole = bytes_of(corpus("zstd"));
  REQUIRE(whole.size() > 1000);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    INFO(length);
    REQUIRE(refused(std::string_view(whole).substr(0, length)));
  }
}

TEST_CASE("A file with a byte changed is refused or still a table of whole columns") {
  const std::string whole = bytes_of(corpus("pages_v2"));
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 0x55);
    try {
      const Table table = parse_parquet(changed, "some.parquet");
      for (const TableColumn& column : table.columns) {
        REQUIRE((column.text ? column.codes.size() : column.numbers.size()) == table.rows);
      }
    } catch (const Error& error) {
      REQUIRE(error.kind() == ErrorKind::bad_input);
    }
  }
}

}  // namespace
}  // namespace dyn::profiler
