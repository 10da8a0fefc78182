#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace dyn {

class Node;
class Problems;

/// A YAML or JSON text with the position of every key and value. Reading it rejects what YAML
/// parsers accept silently: duplicate keys, anchors and aliases, tags, several documents in one
/// file, `yes`/`no`/`on`/`off` as bool, numbers with leading zeros. Values are read through the
/// schemas (describe.h), or for other people's formats through Node (node.h).
class Document {
 public:
  /// Bounds on what is read: larger or deeper files are errors, however they are written.
  static constexpr std::size_t kMaxBytes = std::size_t{32} << 20;
  static constexpr std::size_t kMaxNodes = 1'000'000;
  static constexpr int kMaxDepth = 100;

  /// Throws Error(bad_input) if the file cannot be read or is no YAML or JSON.
  static Document read_file(const std::string& path);
  /// The same, but adds to `problems` what reading can go on after, such as a key given twice (its
  /// first value counts), so that it is reported together with what a schema finds.
  static Document read_file(const std::string& path, Problems& problems);
  /// `name` is what messages call the text.
  static Document parse(std::string text, std::string name);

  ~Document();
  Document(Document&&) noexcept;
  Document& operator=(Document&&) noexcept;

  const std::string& name() const;  ///< file name for messages
  const std::string& text() const;

  /// The outermost value; valid as long as the document is neither changed nor destroyed.
  Node root() const;

  /// Sets `key.path=value` (list items by number), creating objects on the way; the value is
  /// YAML, and an empty one or `null` takes the key away. Throws Error(usage) if the text has no
  /// '=', its value is no YAML, or the path leads through a value. Positions of what is set name
  /// the flag.
  void set(const std::string& assignment);

  struct Impl;
  const Impl& impl() const { return *impl_; }
  Impl& impl() { return *impl_; }

 private:
  Document();
  static Document parse_on(std::string text, std::string name);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dyn
