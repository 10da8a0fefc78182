#include "dyn/configurator/located.h"

#include <optional>
#include <sstream>
#include <vector>

#include "dyn/core/document.h"
#include "dyn/core/node.h"

namespace dyn::configurator {
namespace {

std::optional<Node> find(const Document& document, const std::string& pointer) {
  std::optional<Node> node = document.root();
  std::istringstream parts(pointer);
  std::string key;
  std::getline(parts, key, '/');
  while (node && std::getline(parts, key, '/')) {
    node = node->find(key);
  }
  return node;
}

}  // namespace

ErrorItem locate(const std::string& recipe_path, const std::string& pointer,
                 const std::string& expected) {
  ErrorItem item;
  item.where = Where{recipe_path, 0, 0, pointer};
  try {
    const Document document = Document::read_file(recipe_path);
    const std::optional<Node> node = find(document, pointer);
    if (!node || (!expected.empty() && node->text() != expected)) {
      return item;
    }
    // The loader's own way of naming a place and showing its line.
    Problems problems;
    problems.add(*node, "");
    try {
      problems.throw_if_any();
    } catch (const Error& placed) {
      item = placed.items().front();
    }
  } catch (const Error&) {
    // The recipe was read before; if it has gone or changed since, the file's name must do.
  }
  return item;
}

void with_location(const std::string& recipe_path, const std::string& pointer,
                   const std::string& expected, const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    std::vector<ErrorItem> items = error.items();
    for (ErrorItem& item : items) {
      if (!item.where) {
        const ErrorItem place = locate(recipe_path, pointer, expected);
        item.where = place.where;
        item.excerpt = place.excerpt;
      }
    }
    throw Error(error.kind(), std::move(items));
  }
}

}  // namespace dyn::configurator
