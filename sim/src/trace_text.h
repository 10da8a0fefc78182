#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dyn/core/error.h"

namespace dyn::sim {

/// The text of a trace, cut into lines, and what is wrong with it. Errors are collected, the first
/// twenty, and thrown at once.
class TraceText {
 public:
  TraceText(std::string name, std::string_view text);

  /// Goes on with another text. Pointers into the one before are no longer of this one.
  void open(std::string name, std::string_view text);

  std::string_view text() const { return text_; }
  const std::string& name() const { return name_; }

  /// The next line that is not blank, without its line break; none at the end, or when there are
  /// too many errors to go on.
  std::optional<std::string_view> next_line();

  /// An error at `at`, which points into the text (null: nowhere in particular), about `path`.
  void complain(const char* at, std::string path, std::string message, std::string hint = {});
  std::size_t errors() const { return errors_.size(); }
  /// Whether there are so many that no more are wanted.
  bool full() const;
  /// Throws Error(bad_input) with all of them, if there are any.
  void throw_if_any();

 private:
  std::string name_;
  std::string_view text_;
  const char* at_;
  std::vector<ErrorItem> errors_;
};

}  // namespace dyn::sim
