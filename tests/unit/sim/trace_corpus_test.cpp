#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "paths.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

TEST_CASE("the corpus of the trace fuzzer passes") {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(
           dyn::test::source_path("tests/fuzz/corpus/trace_fuzz"))) {
    INFO(entry.path());
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    CHECK(LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()) ==
          0);
    ++files;
  }
  CHECK(files >= 8);
}

}  // namespace
