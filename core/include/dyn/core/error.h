#pragma once

#include <exception>
#include <optional>
#include <string>
#include <vector>

namespace dyn {

/// What kind of failure ended a command; `cli` maps it to the exit code in the comment.
enum class ErrorKind {
  failed,      ///< the run failed, or a gate was not met (1)
  usage,       ///< wrong flags or arguments (2)
  bad_input,   ///< a file that cannot be read or does not say what it must (3)
  infeasible,  ///< nothing that was asked for can work (4)
  bug,         ///< dyn itself is wrong (70)
};

/// A place in an input file. `line` and `column` count from 1; 0 means unknown.
struct Where {
  std::string file;
  int line = 0;
  int column = 0;
  std::string path;  ///< JSON pointer to the value, such as /traffic/rate
};

/// One error of the control path: what is wrong, where, and what to do about it.
struct ErrorItem {
  std::string message;
  std::optional<Where> where;
  std::string hint;     ///< for example: did you mean 'model'?
  std::string excerpt;  ///< the source line with a caret below it, or empty
};

/// The exception of the control path. Holds every error that was found, so that a user mends a
/// file in one go. Thrown for what ends a command; the data path uses Result (result.h).
class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message, std::string hint = {});
  Error(ErrorKind kind, std::vector<ErrorItem> items);

  ErrorKind kind() const noexcept { return kind_; }
  const std::vector<ErrorItem>& items() const noexcept { return items_; }
  /// All items, one a line, as `file:line:column: error: /path: message (hint)`.
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  ErrorKind kind_;
  std::vector<ErrorItem> items_;
  std::string text_;
};

/// The candidate nearest to `word` by edit distance, if it is near enough to be meant.
std::optional<std::string> nearest(const std::string& word,
                                   const std::vector<std::string>& candidates);

}  // namespace dyn
