#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "dyn/core/document.h"
#include "dyn/core/node.h"
#include "dyn/core/schemas.h"
#include "paths.h"

namespace dyn {
namespace {

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST_CASE("The committed schema files and reference pages are those of the code") {
  const bool bless = std::getenv("DYN_BLESS") != nullptr;
  std::set<std::string> generated;
  for (const GeneratedFile& file : schema_docs(core_schemas())) {
    const std::filesystem::path path = test::source_path(file.path);
    generated.insert(path.filename().string());
    if (bless) {
      std::filesystem::create_directories(path.parent_path());
      std::ofstream(path, std::ios::binary) << file.content;
    }
    INFO(file.path << " is stale: run with DYN_BLESS=1, or `ninja docs`");
    CHECK((read(path) == file.content));
  }
  for (const GeneratedFile& file : schema_docs(core_schemas())) {
    CHECK(file.content.find("  |\n") == std::string::npos);  // no field without a meaning
  }
}

TEST_CASE("A schema file describes every field of what it is for") {
  for (const DocumentSchema* schema : core_schemas()) {
    INFO(schema->id());
    const Document document = Document::parse(json_schema(*schema), schema->id());
    const Node root = document.root();
    REQUIRE(root.find("properties"));
    for (const Field& field : schema->type->fields()) {
      if (field.rest == nullptr) {
        INFO(field.key);
        const auto property = root.find("properties")->find(field.key);
        REQUIRE(property);
        CHECK_FALSE(property->find("description")->text().empty());
      }
    }
    for (const Node& definition : root.find("$defs")->children()) {
      INFO(definition.key());
      // A class of requests has one key a metric, whatever metrics there are.
      const auto rest = definition.find("additionalProperties");
      CHECK((definition.find("properties")->size() > 0 || (rest && rest->is_object())));
    }
  }
}

}  // namespace
}  // namespace dyn
