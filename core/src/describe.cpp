#include "dyn/core/describe.h"

#include <charconv>

#include "dyn/core/error.h"
#include "dyn/core/version.h"

namespace dyn {
namespace {

/// What a kind of file is to a user, and what takes it.
struct KnownKind {
  std::string_view kind;
  std::string_view what;
  std::string_view use;
};

constexpr KnownKind kKinds[] = {
    {"dyn.recipe", "a recipe", "`dyn simulate` takes recipes"},
    {"dyn.profile", "a profile", "a recipe names it as hardware.profile"},
    {"dyn.plan", "a plan", "`dyn serve` runs plans"},
    {"dyn.result", "a result", "`dyn plan` makes a plan of a result"},
    {"dyn.report", "a report", "`dyn simulate --baseline` compares results"},
};

const KnownKind* known_kind(std::string_view kind) {
  for (const KnownKind& known : kKinds) {
    if (known.kind == kind) {
      return &known;
    }
  }
  return nullptr;
}

std::string what_of(const std::string& kind) {
  const KnownKind* known = known_kind(kind);
  return known != nullptr ? std::string(known->what) + " (" + kind + ")" : kind;
}

std::string begin_with(const DocumentSchema& schema, const Document& document) {
  const std::size_t first = document.text().find_first_not_of(" \t\r\n");
  const bool json = first != std::string::npos && document.text()[first] == '{';
  return json ? "begin the file with {\"schema\": \"" + schema.id() + "\", ..."
              : "begin the file with 'schema: " + schema.id() + "'";
}

/// Throws unless the file says that it is what is needed.
void check_header(const DocumentSchema& schema, const Document& document) {
  const Node root = document.root();
  Problems problems;
  if (!root.is_object()) {
    problems.add(root, "expected " + what_of(schema.kind) + ", got " + root.quote(),
                 begin_with(schema, document));
    problems.throw_if_any();
  }
  const auto header = root.find("schema");
  if (!header) {
    problems.add(root, "missing key 'schema'", begin_with(schema, document));
    problems.throw_if_any();
  }
  const std::string text = header->as_text().value_or("");
  if (text == schema.id()) {
    return;
  }
  const std::size_t slash = text.find('/');
  const std::string kind = text.substr(0, slash);
  int version = 0;
  if (slash != std::string::npos) {
    const char* end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data() + slash + 1, end, version);
    version = parsed.ptr == end ? version : 0;
  }
  if (kind == schema.kind && version > schema.version) {
    problems.add(*header,
                 text + " is newer than what this dyn (" + std::string(dyn::version()) +
                     ") reads, " + schema.id(),
                 "use a newer dyn");
  } else if (const KnownKind* known = known_kind(kind); known != nullptr && kind != schema.kind) {
    problems.add(*header,
                 "this is " + what_of(kind) + "; " + what_of(schema.kind) + " is needed here",
                 std::string(known->use));
  } else {
    problems.add(*header, "expected " + schema.id() + ", got " + header->quote());
  }
  problems.throw_if_any();
}

}  // namespace

void read_document(const DocumentSchema& schema, const Document& document, void* target) {
  Problems problems;
  read_document(schema, document, target, problems);
  problems.throw_if_any();
}

void read_document(const DocumentSchema& schema, const Document& document, void* target,
                   Problems& problems) {
  check_header(schema, document);
  std::vector<std::string> header{"schema"};
  for (const auto& [key, doc] : schema.head) {
    header.push_back(key);
  }
  schema.type->read_members(document.root(), target, header, problems);
}

void load_document(const DocumentSchema& schema, const std::string& path, void* target) {
  Problems problems;
  const Document document = Document::read_file(path, problems);
  read_document(schema, document, target, problems);
  problems.throw_if_any();
}

std::string write_document(const DocumentSchema& schema, const void* source) {
  JsonWriter writer;
  writer.begin_object();
  writer.member("schema", schema.id());
  schema.type->write_members(source, writer);
  writer.end_object();
  return writer.finish() + '\n';
}

}  // namespace dyn
