// Any bytes are a table with whole columns, or an error that names the file.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dyn/core/check.h"
#include "dyn/core/error.h"
#include "dyn/profiler/parquet.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  dyn::profiler::Table table;
  try {
    table = dyn::profiler::parse_parquet(bytes, "fuzz.parquet");
  } catch (const dyn::Error& error) {
    DYN_ASSERT(error.kind() == dyn::ErrorKind::bad_input, "a bad table is bad input");
    DYN_ASSERT(!error.items().empty() && error.items()[0].where, "an error says where");
    return 0;
  }
  for (const dyn::profiler::TableColumn& column : table.columns) {
    DYN_ASSERT((column.text ? column.codes.size() : column.numbers.size()) == table.rows,
               "every column has all rows");
    for (const std::uint32_t code : column.codes) {
      DYN_ASSERT(code < column.dictionary.size(), "a code is one of the dictionary");
    }
  }
  return 0;
}
