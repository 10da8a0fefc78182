#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dyn::serve {

/// Finds stop strings in a text that comes in pieces, across their borders. Text that may be the
/// beginning of a stop string is held back until it is known not to be.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  /// Adds a piece and returns the text that may now be sent. Once a stop string is complete, the
  /// text ends before it (before the first of several) and nothing follows.
  std::string push(std::string_view piece);
  bool stopped() const { return stopped_; }
  /// The text that was held back, at the end.
  std::string flush();

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace dyn::serve
