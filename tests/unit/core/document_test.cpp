#include "dyn/core/document.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
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

std::string first_line_of(const std::string& text) {
  const std::string error = error_of(text);
  return error.substr(0, error.find('\n'));
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

TEST_CASE("Kinds and values of scalars are those of JSON") {
  const Document document = Document::parse(
      "n: 12\nx: -1.5e3\nt: true\nz: ~\nq: \"12\"\ny: yes\no: 010\nh: 0x10\ni: .inf\nplus: +1\n"
      "big: 99999999999999999999\nhuge: 1e999\nu: 18446744073709551615\nempty:\n",
      "f");
  const auto at = [root = document.root()](const char* key) { return root.find(key).value(); };
  CHECK(at("n").as_int() == 12);
  CHECK(at("n").as_double() == 12.0);
  CHECK(at("n").as_text() == "12");
  CHECK(at("x").as_double() == -1500.0);
  CHECK_FALSE(at("x").as_int().has_value());
  CHECK(at("t").as_bool() == true);
  CHECK(at("z").is_null());
  CHECK(at("empty").is_null());
  CHECK(at("empty").where().line == 14);
  CHECK(at("q").kind() == NodeKind::text);
  CHECK_FALSE(at("q").as_int().has_value());
  CHECK_FALSE(at("y").as_bool().has_value());
  for (const char* key : {"o", "h", "i", "plus"}) {
    INFO(key);
    CHECK(at(key).kind() == NodeKind::text);
    CHECK_FALSE(at(key).as_double().has_value());
  }
  CHECK_FALSE(at("big").as_int().has_value());
  CHECK_FALSE(at("huge").as_double().has_value());
  CHECK(at("u").as_uint() == 18446744073709551615ULL);
  CHECK_FALSE(at("x").as_uint().has_value());
}

TEST_CASE("A value of the wrong kind is an error with its reason") {
  const Document document =
      Document::parse("a: 010\nb: \"12\"\nc: +1\nd: 1_000\ne: Yes\nf: [1]\ng: OFF\n", "f.yaml");
  Problems problems;
  const Node root = document.root();
  for (const char* key : {"a", "b", "c", "d", "f"}) {
    CHECK_FALSE(root.find(key)->as_int(problems).has_value());
  }
  CHECK_FALSE(root.find("e")->as_bool(problems).has_value());
  CHECK_FALSE(root.find("g")->as_bool(problems).has_value());
  CHECK_FALSE(root.find("f")->as_text(problems).has_value());
  CHECK_FALSE(root.find("f")->as_double(problems).has_value());
  CHECK_FALSE(root.find("f")->as_uint(problems).has_value());
  std::string text;
  try {
    problems.throw_if_any();
  } catch (const Error& error) {
    for (const ErrorItem& item : error.items()) {
      text += std::to_string(item.where->line) + ": " + item.message + " | " + item.hint + '\n';
    }
  }
  CHECK(text ==
        "1: expected a whole number, got \"010\" | write it without leading zeros: they would "
        "mean octal\n"
        "2: expected a whole number, got \"12\" | leave out the quotes\n"
        "3: expected a whole number, got \"+1\" | write it without '+'\n"
        "4: expected a whole number, got \"1_000\" | write digits only\n"
        "5: expected true or false, got \"Yes\" | write true\n"
        "6: expected a whole number, got a list | \n"
        "6: expected text, got a list | \n"
        "6: expected a number, got a list | \n"
        "6: expected a whole number of at least 0, got a list | \n"
        "7: expected true or false, got \"OFF\" | write false\n");
}

TEST_CASE("What YAML has beyond JSON's values is refused, all at once") {
  CHECK(error_of("a: &x 1\nb: *x\nc: !!int 3\n") ==
        "f.yaml:1:4: error: anchors are not supported: '&x' (write the value where it is used)\n"
        "    1 | a: &x 1\n"
        "      |    ^\n"
        "f.yaml:2:4: error: aliases are not supported (write the value again)\n"
        "    2 | b: *x\n"
        "      |    ^\n"
        "f.yaml:3:4: error: tags are not supported: 'tag:yaml.org,2002:int' (leave it out)\n"
        "    3 | c: !!int 3\n"
        "      |    ^");
  CHECK(first_line_of("? [a]\n: b\n") == "f.yaml:1:3: error: a key must be text, not a list");
  CHECK(first_line_of("a: 1\n---\nb: 2\n").find("a second document begins here") !=
        std::string::npos);
}

TEST_CASE("What is no YAML says where, and why where that is known") {
  CHECK(error_of("{\"a\": [1, 2") ==
        "f.yaml:1:12: error: this is not valid YAML: end of sequence flow not found (the file may "
        "be truncated)\n"
        "    1 | {\"a\": [1, 2\n"
        "      |            ^");
  CHECK(first_line_of("{\n  \"a\": {\n    \"b\": \"x\",\n") ==
        "f.yaml:3:14: error: this is not valid YAML: end of map flow not found (the file may be "
        "truncated)");
  CHECK(first_line_of("a: [1,\n  2}\n").find("truncated") == std::string::npos);
  CHECK(first_line_of("a: \"text\n\nb: 1\n").find("(the file may be truncated)") !=
        std::string::npos);
  CHECK(first_line_of("a:\n\tb: 1\n").find("(indent with spaces, not tabs)") != std::string::npos);
  CHECK(
      first_line_of("a: b: c\n") ==
      "f.yaml:1:5: error: this is not valid YAML: illegal map value (quote text that holds ': ')");
}

TEST_CASE("What is no text is refused before it is parsed") {
  CHECK(first_line_of(std::string("a: \0b", 5)) ==
        "f.yaml:1:4: error: control character 0x00 (is this a text file?)");
  CHECK(first_line_of("a: 1\x04") == "f.yaml:1:5: error: control character 0x04");
  CHECK(first_line_of("ok: 1\na: \xc3(") ==
        "f.yaml:2:4: error: this is not valid UTF-8 (save it as UTF-8)");
  CHECK(first_line_of("a: \xed\xa0\x80").find("UTF-8") != std::string::npos);
  CHECK(first_line_of("a: \xf4\x90\x80\x80").find("UTF-8") != std::string::npos);
  CHECK(first_line_of("a: \xe0\x80\x80").find("UTF-8") != std::string::npos);
  CHECK(Document::parse("a: \"\xf0\x9f\x98\x80\"", "f").root().find("a")->text() ==
        "\xf0\x9f\x98\x80");
}

TEST_CASE("Depth and size are bounded, however a file is written") {
  const auto nested = [](const std::string& open, const std::string& close, int levels) {
    std::string text;
    for (int i = 0; i < levels; ++i) {
      text += open;
    }
    text += "1";
    for (int i = 0; i < levels; ++i) {
      text += close;
    }
    return text;
  };
  CHECK(error_of(nested("[", "]", 99)) == "no error");
  CHECK(first_line_of(nested("[", "]", 200)).find("nested more than 100 levels deep") !=
        std::string::npos);
  CHECK(first_line_of(nested("{a: ", "}", 200)).find("nested more than 100 levels deep") !=
        std::string::npos);
  CHECK(first_line_of(std::string(100'000, '[')) != "no error");
  CHECK(first_line_of(nested("{\"a\": ", "}", 5000)) != "no error");
  CHECK(first_line_of(std::string(Document::kMaxBytes + 1, ' ')) ==
        "f.yaml: error: the file is larger than 32 MiB");
  std::string many = "[0";
  for (std::size_t i = 0; i < Document::kMaxNodes; ++i) {
    many += ",0";
  }
  CHECK(first_line_of(many + "]").find("more than 1000000 values") != std::string::npos);
}

TEST_CASE("Columns count characters, and a long line is cut around the caret") {
  CHECK(error_of("ä: 1\nä: 2").find("f.yaml:2:1:") == 0);
  CHECK(error_of("{ä: 1, b: 1, b: 2}") ==
        "f.yaml:1:14: error: duplicate key 'b' (first given in line 1)\n"
        "    1 | {ä: 1, b: 1, b: 2}\n"
        "      |              ^");
  const std::string error =
      error_of("{" + std::string(300, ' ') + "b: 1, b: 2" + std::string(300, ' ') + "}");
  CHECK(error.find("f.yaml:1:308:") == 0);
  const std::size_t excerpt = error.find('\n') + 1;
  const std::string line = error.substr(excerpt, error.find('\n', excerpt) - excerpt);
  CHECK(line.size() < 110);
  const std::string caret = error.substr(error.rfind('\n') + 1);
  CHECK(line[caret.size() - 1] == 'b');
}

TEST_CASE("A byte order mark and CRLF change nothing") {
  const Document document = Document::parse(
      "\xef\xbb\xbf"
      "a: x\r\nb: 2\r\n",
      "f");
  CHECK(document.root().find("a")->text() == "x");
  CHECK(document.root().find("b")->as_int() == 2);
  CHECK(document.root().find("b")->where().line == 2);
}

TEST_CASE("An empty text is null") {
  CHECK(Document::parse("", "f").root().is_null());
  CHECK(Document::parse("# only a comment\n", "f").root().is_null());
}

TEST_CASE("A file that is not there names its neighbour") {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("dyn_document_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const std::string there = (folder / "recipe.yaml").string();
  std::ofstream(there) << "a: 1\n";
  CHECK(Document::read_file(there).root().find("a")->as_int() == 1);
  CHECK(Document::read_file(there).name() == there);
  const std::string absent = (folder / "recpe.yaml").string();
  try {
    Document::read_file(absent);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::bad_input);
    CHECK(std::string(error.what()) ==
          absent + ": error: cannot read the file: No such file or directory (did you mean '" +
              there + "'?)");
  }
  CHECK_THROWS_AS(Document::read_file(folder.string()), Error);
  CHECK_THROWS_AS(Document::read_file((folder / "nothing" / "near").string()), Error);
  std::filesystem::remove_all(folder);
}

TEST_CASE("A flag that cannot be applied is a usage error") {
  const auto usage = [](const std::string& assignment) -> std::string {
    Document document = Document::parse("a: {b: [1, 2]}\nc: 3\n", "f");
    try {
      document.set(assignment);
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::usage);
      const std::string text = error.what();
      return text.substr(0, text.find('\n'));
    }
    return "no error";
  };
  CHECK(usage("a") == "error: --set a: expected key.path=value (such as --set traffic.rate=8/s)");
  CHECK(usage("=1") == "error: --set =1: expected key.path=value (such as --set traffic.rate=8/s)");
  CHECK(usage("a..b=1") == "error: --set a..b=1: a part of the path is empty");
  CHECK(usage("c.d=1") == "error: --set c.d=1: 'd' lies below a value that is a number");
  CHECK(usage("a.b.7=1") ==
        "error: --set a.b.7=1: the list has 2 items; '7' is none of them and not the next");
  CHECK(usage("a.b.x=1").find("is none of them") != std::string::npos);
  CHECK(usage("c=[1") ==
        "error: --set c=[1: this is not valid YAML: end of sequence flow not found (the file may "
        "be truncated)");
  CHECK(usage("a.b.2=3") == "no error");
  CHECK(usage("x.y.z={k: v}") == "no error");
}

TEST_CASE("More errors than anybody reads are cut") {
  Problems problems;
  const Document list = Document::parse("[a, b]", "f");
  for (int i = 0; i < 60; ++i) {
    problems.add(list.root().at(0), "wrong");
  }
  try {
    problems.throw_if_any();
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.items().size() == 51);
    CHECK(error.items().back().message == "and 10 more errors");
  }
}

}  // namespace
}  // namespace dyn
