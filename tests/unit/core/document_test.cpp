#include "dyn/core/document.h"

#include <catch2/catch.hpp>
#include <string>

#include "dyn/core/error.h"
#include "dyn/core/node.h"

namespace dyn {
namespace {

std::string error_of(const std::string& text) {
  try {
    Document::parse(text, "f.yaml");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::bad_input);
    return error.what();
  }
  return "no error";
}

TEST_CASE("A duplicate key names the line of the first") {
  CHECK(error_of("a: 1\nb: 2\na: 3\n") ==
        "f.yaml:3:1: error: duplicate key 'a' (first given in line 1)\n"
        "    3 | a: 3\n"
        "      | ^");
  CHECK(error_of("{\"a\": 1,\n \"a\": 2}") ==
        "f.yaml:2:2: error: duplicate key 'a' (first given in line 1)\n"
        "    2 |  \"a\": 2}\n"
        "      |  ^");
}

TEST_CASE("JSON values know their places as YAML values do") {
  for (const char* text : {"{\"a\": {\"b\": [1, \"x\"]}}", "{a: {\"b\": [1, \"x\"]}}"}) {
    const Document document = Document::parse(text, "f");
    const Node item = document.root().find("a")->find("b")->at(1);
    CHECK(item.text() == "x");
    CHECK(item.path() == "/a/b/1");
    CHECK(item.where().line == 1);
    CHECK(item.where().column == (text[1] == 'a' ? 15 : 17));
  }
}

}  // namespace
}  // namespace dyn
