#pragma once

#include <string>
#include <string_view>

#include "dyn/core/document.h"
#include "dyn/core/error.h"
#include "dyn/core/node.h"
#include "dyn/core/schemas.h"

namespace dyn::fuzz {

/// Walks every value, as the readers of other people's formats do.
inline void visit(const Node& node) {
  Problems problems;
  static_cast<void>(node.where());
  static_cast<void>(node.quote());
  static_cast<void>(node.as_bool(problems));
  static_cast<void>(node.as_int(problems));
  static_cast<void>(node.as_uint(problems));
  static_cast<void>(node.as_double(problems));
  static_cast<void>(node.as_text(problems));
  for (const Node& child : node.children()) {
    visit(child);
  }
}

/// Reads a text as every kind of file: it must be read or refused by an Error that is no bug.
/// What is read as a plan or profile must be written and read back the same. False if that fails.
inline bool try_document(std::string_view text) {
  bool good = true;
  const auto attempt = [&](const auto& read) {
    try {
      read();
    } catch (const Error& error) {
      good = good && error.kind() != ErrorKind::bug && !error.items().empty();
    }
  };
  attempt([&] {
    Document document = Document::parse(std::string(text), "fuzz");
    visit(document.root());
    attempt([&] { parse_recipe(document); });
    attempt([&] {
      const Profile profile = parse_profile(document);
      const std::string written = to_json(profile);
      good = good && to_json(parse_profile(Document::parse(written, "again"))) == written;
    });
    attempt([&] {
      const Plan plan = parse_plan(document);
      const std::string written = to_json(plan);
      good = good && to_json(parse_plan(Document::parse(written, "again"))) == written;
    });
    attempt([&] { document.set("traffic.rate=" + std::string(text.substr(0, 200))); });
    attempt([&] { document.set(std::string(text.substr(0, 200))); });
    attempt([&] { parse_recipe(document); });
  });
  return good;
}

}  // namespace dyn::fuzz
