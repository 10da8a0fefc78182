#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dyn/core/document.h"
#include "dyn/core/error.h"

namespace dyn {

struct NodeData;
class Node;

/// What a value is. A plain YAML scalar is a boolean if it is `true` or `false`, a number if JSON
/// would read it as one, null if it is empty, `~` or `null`, and text otherwise; a quoted one is
/// text.
enum class NodeKind { null, boolean, number, text, list, object };

/// The kind in words, with its article, for messages: "a list".
std::string_view to_text(NodeKind kind);

/// Errors of a document, collected so that they can be thrown at once.
class Problems {
 public:
  /// An error about a value, with its position and an excerpt of the text.
  void add(const Node& node, std::string message, std::string hint = {});
  /// The same about the key of a value.
  void add_at_key(const Node& node, std::string message, std::string hint = {});
  void add(ErrorItem item) { items_.push_back(std::move(item)); }

  bool empty() const { return items_.empty(); }
  std::size_t size() const { return items_.size(); }
  /// Throws Error(bad_input) with the errors in the order of the file, the first 50 of them, if
  /// there is any.
  void throw_if_any() const;

 private:
  std::vector<ErrorItem> items_;
};

/// A read-only cursor on a value of a Document. Cheap to copy; valid as long as the document is
/// neither changed nor destroyed.
class Node {
 public:
  NodeKind kind() const;
  bool is_null() const { return kind() == NodeKind::null; }
  bool is_list() const { return kind() == NodeKind::list; }
  bool is_object() const { return kind() == NodeKind::object; }

  /// A scalar's characters as the text means them (escapes resolved); empty for lists, objects
  /// and null.
  const std::string& text() const;
  bool quoted() const;  ///< written in quotes, so surely text
  /// The key of a member of an object; empty for others.
  const std::string& key() const;

  /// The member of that key; none if there is none or this is no object.
  std::optional<Node> find(std::string_view key) const;
  /// Items of a list or members of an object, in the order of the text.
  std::size_t size() const;
  Node at(std::size_t index) const;
  std::vector<Node> children() const;

  Where where() const;       ///< of the value
  Where key_where() const;   ///< of its key, or of the value where there is no key
  std::string path() const;  ///< JSON pointer
  /// The value in short as messages quote it, such as "-3" or "a list".
  std::string quote() const;

  // The value, if it is one of that kind. as_text also gives plain numbers and booleans as
  // written. as_int takes whole numbers alone, without sign '+', leading zeros or fraction.
  std::optional<bool> as_bool() const;
  std::optional<std::int64_t> as_int() const;
  std::optional<std::uint64_t> as_uint() const;
  std::optional<double> as_double() const;
  std::optional<std::string> as_text() const;

  // The same; a value of another kind is an error that says what was expected.
  std::optional<bool> as_bool(Problems& problems) const;
  std::optional<std::int64_t> as_int(Problems& problems) const;
  std::optional<std::uint64_t> as_uint(Problems& problems) const;
  std::optional<double> as_double(Problems& problems) const;
  std::optional<std::string> as_text(Problems& problems) const;

 private:
  friend class Document;
  friend class Problems;
  Node(const Document::Impl& document, const NodeData& data) : document_(&document), data_(&data) {}

  const Document::Impl* document_;
  const NodeData* data_;
};

}  // namespace dyn
