#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "dyn/core/document.h"
#include "dyn/core/node.h"

namespace dyn {

/// A place in a text, from 0; line -1 is nowhere in particular. `column` counts bytes.
struct Mark {
  std::int32_t line = -1;
  std::int32_t column = 0;
};

/// One value. Children are members of an object (each with its key) or items of a list.
struct NodeData {
  NodeKind kind = NodeKind::null;
  bool quoted = false;
  bool has_key = false;
  std::uint32_t source = 0;
  const NodeData* parent = nullptr;
  Mark mark;
  Mark key_mark;
  std::string key;
  std::string text;
  std::vector<NodeData*> children;
};

/// A text that values are from: the file, or the value of a `--set`.
struct Source {
  std::string name;
  std::string text;
  std::vector<std::size_t> lines;  ///< where each begins
  bool is_flag = false;

  void index_lines();
  Mark mark_at(std::size_t offset) const;
  std::string_view line(int number) const;
};

struct Document::Impl {
  std::deque<Source> sources;  ///< the first is the file
  std::deque<NodeData> nodes;
  NodeData* root = nullptr;
  std::vector<ErrorItem> problems;  ///< of a text that is read on after them, such as a key twice
};

/// The position of `mark` for messages; columns count characters.
Where where_in(const Source& source, Mark mark, std::string path);
/// The line of `mark` with a caret below it; empty where there is no line.
std::string excerpt_of(const Source& source, Mark mark);
/// Error(bad_input) at one place of a text.
Error error_at(const Source& source, Mark mark, std::string message, std::string hint = {});

/// What a plain scalar is.
NodeKind classify_plain(std::string_view text);

/// Builds the tree of a source from a parser's events and checks what every format must hold:
/// depth, number of nodes, no key twice. Throws Error(bad_input) for the limits; duplicate keys
/// and other things that parsing can go on after are collected.
class TreeBuilder {
 public:
  TreeBuilder(Document::Impl& document, std::uint32_t source);

  bool wants_key() const;
  void key(std::string text, Mark mark);
  void scalar(NodeKind kind, std::string text, bool quoted, Mark mark);
  void begin(NodeKind kind, Mark mark);
  void end();
  void problem(Mark mark, std::string message, std::string hint = {});

  /// The finished tree; what was collected goes to the document's problems.
  NodeData* finish();

 private:
  struct Open {
    NodeData* node;
    std::unordered_set<std::string_view> keys;
  };
  NodeData& append(NodeKind kind, Mark mark);

  Document::Impl& document_;
  std::uint32_t source_;
  std::vector<Open> open_;
  std::string key_;
  Mark key_mark_;
  bool have_key_ = false;
  NodeData* root_ = nullptr;
  std::vector<ErrorItem> problems_;
};

/// Parses strict JSON; null if the text is none (then parse_yaml says what is wrong).
NodeData* parse_json(Document::Impl& document, std::uint32_t source);
/// Parses YAML, of which JSON is a part. Throws Error(bad_input).
NodeData* parse_yaml(Document::Impl& document, std::uint32_t source);

}  // namespace dyn
