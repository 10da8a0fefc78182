#include "dyn/core/node.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "document_impl.h"
#include "dyn/core/check.h"

namespace dyn {
namespace {

constexpr std::size_t kMaxProblems = 50;

/// Why a plain scalar that looks like a number or a bool to some is none here.
std::string plain_hint(const Node& node) {
  const std::string& text = node.text();
  if (node.kind() != NodeKind::text) {
    return {};
  }
  if (node.quoted()) {
    return classify_plain(text) == NodeKind::text || text.empty() ? std::string()
                                                                  : "leave out the quotes";
  }
  const std::size_t digit = text.find_first_not_of("+-");
  if (digit == std::string::npos) {
    return {};
  }
  const bool all_digits = text.find_first_not_of("0123456789", digit) == std::string::npos;
  if (all_digits && text[digit] == '0' && text.size() > digit + 1) {
    return "write it without leading zeros: they would mean octal";
  }
  if (all_digits && text[0] == '+') {
    return "write it without '+'";
  }
  if (text.find_first_not_of("0123456789_,", digit) == std::string::npos) {
    return "write digits only";
  }
  return {};
}

std::string bool_hint(const Node& node) {
  static const std::pair<const char*, const char*> kSpellings[] = {
      {"yes", "true"}, {"no", "false"}, {"on", "true"},   {"off", "false"},
      {"y", "true"},   {"n", "false"},  {"true", "true"}, {"false", "false"}};
  std::string lower = node.text();
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  });
  for (const auto& [spelling, meaning] : kSpellings) {
    if (lower == spelling) {
      return std::string("write ") + meaning;
    }
  }
  return {};
}

template <class T>
std::optional<T> whole(const Node& node) {
  if (node.kind() != NodeKind::number) {
    return std::nullopt;
  }
  T value{};
  const std::string& text = node.text();
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

}  // namespace

std::string_view to_text(NodeKind kind) {
  switch (kind) {
    case NodeKind::null:
      return "null";
    case NodeKind::boolean:
      return "a boolean";
    case NodeKind::number:
      return "a number";
    case NodeKind::text:
      return "text";
    case NodeKind::list:
      return "a list";
    case NodeKind::object:
      return "an object";
  }
  return "?";
}

void Problems::add(const Node& node, std::string message, std::string hint) {
  items_.push_back(
      ErrorItem{std::move(message), node.where(), std::move(hint),
                excerpt_of(node.document_->sources[node.data_->source], node.data_->mark)});
}

void Problems::add_at_key(const Node& node, std::string message, std::string hint) {
  const NodeData& data = *node.data_;
  items_.push_back(ErrorItem{
      std::move(message), node.key_where(), std::move(hint),
      excerpt_of(node.document_->sources[data.source], data.has_key ? data.key_mark : data.mark)});
}

void Problems::throw_if_any() const {
  if (items_.empty()) {
    return;
  }
  std::vector<ErrorItem> sorted = items_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const ErrorItem& a, const ErrorItem& b) {
    return std::pair(a.where->line, a.where->column) < std::pair(b.where->line, b.where->column);
  });
  if (sorted.size() > kMaxProblems) {
    const std::size_t more = sorted.size() - kMaxProblems;
    sorted.resize(kMaxProblems);
    sorted.push_back(ErrorItem{"and " + std::to_string(more) + " more errors",
                               Where{sorted.front().where->file, 0, 0, {}},
                               {},
                               {}});
  }
  throw Error(ErrorKind::bad_input, std::move(sorted));
}

NodeKind Node::kind() const {
  return data_->kind;
}
const std::string& Node::text() const {
  return data_->text;
}
bool Node::quoted() const {
  return data_->quoted;
}
const std::string& Node::key() const {
  return data_->key;
}
std::size_t Node::size() const {
  return data_->children.size();
}

Node Node::at(std::size_t index) const {
  DYN_ASSERT(index < data_->children.size(), "an item that the list has");
  return Node(*document_, *data_->children[index]);
}

std::vector<Node> Node::children() const {
  std::vector<Node> nodes;
  nodes.reserve(data_->children.size());
  for (const NodeData* child : data_->children) {
    nodes.push_back(Node(*document_, *child));
  }
  return nodes;
}

std::optional<Node> Node::find(std::string_view key) const {
  if (data_->kind != NodeKind::object) {
    return std::nullopt;
  }
  for (const NodeData* child : data_->children) {
    if (child->key == key) {
      return Node(*document_, *child);
    }
  }
  return std::nullopt;
}

std::string Node::path() const {
  std::vector<std::string> parts;
  for (const NodeData* node = data_; node->parent != nullptr; node = node->parent) {
    if (node->has_key) {
      std::string part;
      for (const char c : node->key) {
        part += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
      }
      parts.push_back(std::move(part));
    } else {
      const auto& siblings = node->parent->children;
      const auto it = std::find(siblings.begin(), siblings.end(), node);
      parts.push_back(std::to_string(it - siblings.begin()));
    }
  }
  std::string path;
  for (auto it = parts.rbegin(); it != parts.rend(); ++it) {
    path += '/' + *it;
  }
  return path;
}

Where Node::where() const {
  return where_in(document_->sources[data_->source], data_->mark, path());
}

Where Node::key_where() const {
  return where_in(document_->sources[data_->source], data_->has_key ? data_->key_mark : data_->mark,
                  path());
}

std::string Node::quote() const {
  if (kind() == NodeKind::list || kind() == NodeKind::object || kind() == NodeKind::null) {
    return std::string(to_text(kind()));
  }
  constexpr std::size_t kLongest = 60;
  if (text().size() <= kLongest) {
    return '"' + text() + '"';
  }
  std::size_t cut = kLongest;
  while (cut > 0 && (static_cast<unsigned char>(text()[cut]) & 0xC0U) == 0x80U) {
    --cut;
  }
  return '"' + text().substr(0, cut) + "...\"";
}

std::optional<bool> Node::as_bool() const {
  if (kind() != NodeKind::boolean) {
    return std::nullopt;
  }
  return text() == "true";
}

std::optional<std::int64_t> Node::as_int() const {
  return whole<std::int64_t>(*this);
}
std::optional<std::uint64_t> Node::as_uint() const {
  return whole<std::uint64_t>(*this);
}

std::optional<double> Node::as_double() const {
  if (kind() != NodeKind::number) {
    return std::nullopt;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(text().data(), text().data() + text().size(), value);
  if (error != std::errc{} || end != text().data() + text().size() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

std::optional<std::string> Node::as_text() const {
  if (kind() == NodeKind::null || kind() == NodeKind::list || kind() == NodeKind::object) {
    return std::nullopt;
  }
  return text();
}

std::optional<bool> Node::as_bool(Problems& problems) const {
  const auto value = as_bool();
  if (!value) {
    problems.add(*this, "expected true or false, got " + quote(), bool_hint(*this));
  }
  return value;
}

std::optional<std::int64_t> Node::as_int(Problems& problems) const {
  const auto value = as_int();
  if (!value) {
    problems.add(*this, "expected a whole number, got " + quote(), plain_hint(*this));
  }
  return value;
}

std::optional<std::uint64_t> Node::as_uint(Problems& problems) const {
  const auto value = as_uint();
  if (!value) {
    problems.add(*this, "expected a whole number of at least 0, got " + quote(), plain_hint(*this));
  }
  return value;
}

std::optional<double> Node::as_double(Problems& problems) const {
  const auto value = as_double();
  if (!value) {
    problems.add(*this, "expected a number, got " + quote(), plain_hint(*this));
  }
  return value;
}

std::optional<std::string> Node::as_text(Problems& problems) const {
  const auto value = as_text();
  if (!value) {
    problems.add(*this, "expected text, got " + quote());
  }
  return value;
}

}  // namespace dyn
