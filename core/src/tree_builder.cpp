#include <algorithm>
#include <iterator>
#include <utility>

#include "document_impl.h"
#include "dyn/core/check.h"

namespace dyn {
namespace {

bool continues(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}

/// Characters (code points) of a UTF-8 text.
int characters(std::string_view text) {
  return static_cast<int>(
      std::count_if(text.begin(), text.end(), [](char c) { return !continues(c); }));
}

}  // namespace

void Source::index_lines() {
  lines.assign(1, 0);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n') {
      lines.push_back(i + 1);
    }
  }
}

Mark Source::mark_at(std::size_t offset) const {
  const auto next = std::upper_bound(lines.begin(), lines.end(), offset);
  const auto line = std::distance(lines.begin(), next) - 1;
  return {static_cast<std::int32_t>(line), static_cast<std::int32_t>(offset - lines[line])};
}

std::string_view Source::line(int number) const {
  if (number < 0 || static_cast<std::size_t>(number) >= lines.size()) {
    return {};
  }
  const std::size_t begin = lines[number];
  const std::size_t next =
      static_cast<std::size_t>(number) + 1 < lines.size() ? lines[number + 1] - 1 : text.size();
  std::string_view result = std::string_view(text).substr(begin, next - begin);
  if (result.ends_with('\r')) {
    result.remove_suffix(1);
  }
  return result;
}

Where where_in(const Source& source, Mark mark, std::string path) {
  if (source.is_flag || mark.line < 0) {
    return {source.name, 0, 0, std::move(path)};
  }
  const std::string_view line = source.line(mark.line);
  const auto bytes = std::min(line.size(), static_cast<std::size_t>(mark.column));
  return {source.name, mark.line + 1, characters(line.substr(0, bytes)) + 1, std::move(path)};
}

std::string excerpt_of(const Source& source, Mark mark) {
  if (source.is_flag || mark.line < 0 ||
      static_cast<std::size_t>(mark.line) >= source.lines.size()) {
    return {};
  }
  constexpr std::size_t kWidth = 90;
  std::string_view line = source.line(mark.line);
  std::size_t column = std::min(line.size(), static_cast<std::size_t>(mark.column));
  std::string before;
  if (line.size() > kWidth && column > kWidth / 2) {  // a window of a long line
    std::size_t cut = std::min(column - kWidth / 2, line.size() - kWidth);
    while (cut > 0 && continues(line[cut])) {
      --cut;
    }
    line.remove_prefix(cut);
    column -= cut;
    before = "...";
  }
  std::size_t end = std::min(line.size(), kWidth);
  while (end < line.size() && continues(line[end])) {
    ++end;
  }
  std::string shown = before + std::string(line.substr(0, end)) + (end < line.size() ? "..." : "");
  for (char& c : shown) {
    const auto byte = static_cast<unsigned char>(c);
    c = byte < 0x20 || byte == 0x7F ? ' ' : c;
  }
  std::string number = std::to_string(mark.line + 1);
  number.insert(0, number.size() < 5 ? 5 - number.size() : 0, ' ');
  const auto indent = before.size() + static_cast<std::size_t>(characters(line.substr(0, column)));
  return number + " | " + shown + "\n      | " + std::string(indent, ' ') + "^";
}

Error error_at(const Source& source, Mark mark, std::string message, std::string hint) {
  return Error(ErrorKind::bad_input, {ErrorItem{std::move(message), where_in(source, mark, {}),
                                                std::move(hint), excerpt_of(source, mark)}});
}

NodeKind classify_plain(std::string_view text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") {
    return NodeKind::null;
  }
  if (text == "true" || text == "false") {
    return NodeKind::boolean;
  }
  std::size_t i = text[0] == '-' ? 1 : 0;
  const auto digits = [&] {
    const std::size_t from = i;
    while (i < text.size() && text[i] >= '0' && text[i] <= '9') {
      ++i;
    }
    return i - from;
  };
  const bool zero = i < text.size() && text[i] == '0';
  const std::size_t whole = digits();
  if (whole == 0 || (zero && whole > 1)) {
    return NodeKind::text;
  }
  if (i < text.size() && text[i] == '.') {
    ++i;
    if (digits() == 0) {
      return NodeKind::text;
    }
  }
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) {
      ++i;
    }
    if (digits() == 0) {
      return NodeKind::text;
    }
  }
  return i == text.size() ? NodeKind::number : NodeKind::text;
}

TreeBuilder::TreeBuilder(Document::Impl& document, std::uint32_t source)
    : document_(document), source_(source) {}

bool TreeBuilder::wants_key() const {
  return !open_.empty() && open_.back().node->kind == NodeKind::object && !have_key_;
}

void TreeBuilder::problem(Mark mark, std::string message, std::string hint) {
  if (problems_.size() < 50) {
    const Source& source = document_.sources[source_];
    problems_.push_back(ErrorItem{std::move(message), where_in(source, mark, {}), std::move(hint),
                                  excerpt_of(source, mark)});
  }
}

void TreeBuilder::key(std::string text, Mark mark) {
  key_ = std::move(text);
  key_mark_ = mark;
  have_key_ = true;
}

NodeData& TreeBuilder::append(NodeKind kind, Mark mark) {
  const Source& source = document_.sources[source_];
  if (document_.nodes.size() >= Document::kMaxNodes) {
    throw error_at(source, mark,
                   "more than " + std::to_string(Document::kMaxNodes) + " values in one file");
  }
  if (open_.size() >= static_cast<std::size_t>(Document::kMaxDepth)) {
    throw error_at(source, mark,
                   "nested more than " + std::to_string(Document::kMaxDepth) + " levels deep");
  }
  NodeData& node = document_.nodes.emplace_back();
  node.kind = kind;
  node.source = source_;
  node.mark = mark;
  if (open_.empty()) {
    root_ = &node;
    return node;
  }
  Open& open = open_.back();
  node.parent = open.node;
  if (have_key_) {
    have_key_ = false;
    node.has_key = true;
    node.key = std::move(key_);
    node.key_mark = key_mark_;
    if (!open.keys.insert(node.key).second) {
      const auto first = std::find_if(open.node->children.begin(), open.node->children.end(),
                                      [&](const NodeData* n) { return n->key == node.key; });
      problem(key_mark_, "duplicate key '" + node.key + "'",
              "first given in line " + std::to_string((*first)->key_mark.line + 1));
      return node;
    }
  }
  open.node->children.push_back(&node);
  return node;
}

void TreeBuilder::scalar(NodeKind kind, std::string text, bool quoted, Mark mark) {
  if (kind == NodeKind::null && have_key_ && mark.line > key_mark_.line) {
    mark = key_mark_;  // nothing at all, which yaml-cpp finds where the next thing is
  }
  NodeData& node = append(kind, mark);
  node.text = std::move(text);
  node.quoted = quoted;
}

void TreeBuilder::begin(NodeKind kind, Mark mark) {
  NodeData& node = append(kind, mark);
  open_.push_back(Open{&node, {}});
}

void TreeBuilder::end() {
  DYN_ASSERT(!open_.empty(), "an end for every beginning");
  open_.pop_back();
}

NodeData* TreeBuilder::finish() {
  DYN_ASSERT(open_.empty(), "every list and object is closed");
  document_.problems.insert(document_.problems.end(), std::make_move_iterator(problems_.begin()),
                            std::make_move_iterator(problems_.end()));
  if (root_ == nullptr) {
    scalar(NodeKind::null, {}, false, {0, 0});
  }
  return root_;
}

}  // namespace dyn
