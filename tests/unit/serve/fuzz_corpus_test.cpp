#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "paths.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

void run(const std::string& bytes) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

TEST_CASE("the fuzzer's corpus of HTTP bodies, and what is near it, does no harm") {
  std::mt19937_64 random(7);
  int files = 0;
  for (const auto& file : std::filesystem::directory_iterator(
           dyn::test::source_path("tests/fuzz/corpus/http_body_fuzz"))) {
    std::ifstream in(file.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    run(bytes);
    ++files;
    for (int i = 0; i < 300; ++i) {
      std::string changed = bytes;
      for (int k = 0; k < 3; ++k) {
        changed[random() % changed.size()] = static_cast<char>(random());
      }
      run(changed.substr(0, random() % (changed.size() + 1)));
      run(changed);
    }
  }
  CHECK(files > 0);
}
