#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "../../fuzz/trace_formats_target.h"
#include "paths.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

/// Gives every file of a fuzzer's corpus to `target`; how many there are.
template <class Target>
int try_corpus(const char* folder, const Target& target) {
  int files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(dyn::test::source_path("tests/fuzz/corpus") / folder)) {
    INFO(entry.path());
    std::ifstream file(entry.path(), std::ios::binary);
    target(std::string{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()});
    ++files;
  }
  return files;
}

TEST_CASE("the corpus of the trace fuzzer passes") {
  CHECK(try_corpus("trace_fuzz", [](const std::string& text) {
          CHECK(LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()),
                                       text.size()) == 0);
        }) >= 8);
}

TEST_CASE("the corpus of the fuzzer of all trace readers passes") {
  CHECK(try_corpus("trace_formats_fuzz", dyn::fuzz::try_trace) >= 15);
}

}  // namespace
