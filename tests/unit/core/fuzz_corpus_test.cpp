#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "../../fuzz/document_target.h"
#include "paths.h"

namespace dyn {
namespace {

TEST_CASE("Every text of the loader's fuzzing corpus is read or refused") {
  int texts = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(test::source_path("tests/fuzz/corpus/document_fuzz"))) {
    std::ifstream file(entry.path(), std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    INFO(entry.path().filename());
    CHECK(fuzz::try_document(text.str()));
    ++texts;
  }
  CHECK(texts >= 15);
}

TEST_CASE("Every beginning of a plan is read or refused") {
  std::ifstream file(test::source_path("tests/fuzz/corpus/document_fuzz/plan.json"));
  std::ostringstream text;
  text << file.rdbuf();
  const std::string plan = text.str();
  REQUIRE(plan.size() > 100);
  for (std::size_t size = 0; size < plan.size(); size += 3) {
    INFO(size);
    CHECK(fuzz::try_document(std::string_view(plan).substr(0, size)));
  }
}

}  // namespace
}  // namespace dyn
