#pragma once

#include <memory>
#include <string>
#include <vector>

namespace dyn {

/// A YAML or JSON text with the position of every key and value. Reading it rejects what YAML
/// parsers accept silently: duplicate keys, anchors and aliases, `yes`/`no`/`on`/`off` as bool,
/// octal numbers. Values are read through the schemas (describe.h).
class Document {
 public:
  /// Throws Error(bad_input) if the file cannot be read or is no YAML or JSON.
  static Document read_file(const std::string& path);
  static Document parse(std::string text, std::string name);

  ~Document();
  Document(Document&&) noexcept;
  Document& operator=(Document&&) noexcept;

  const std::string& name() const;  ///< file name for messages
  const std::string& text() const;

  /// Sets `key.path=value` (list items by number), creating objects on the way; the value is
  /// YAML. Throws Error(usage) if the text has no '='. Positions of what is set name the flag.
  void set(const std::string& assignment);

  struct Impl;
  const Impl& impl() const { return *impl_; }
  Impl& impl() { return *impl_; }

 private:
  Document();
  std::unique_ptr<Impl> impl_;
};

}  // namespace dyn
