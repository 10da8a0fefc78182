#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "stop_matcher.h"
#include "synthetic_text.h"

namespace dyn::serve {

/// The text of a simulated answer as its tokens come: one piece a token, ended by a stop string.
class AnswerText {
 public:
  AnswerText(std::uint64_t seed, std::vector<std::string> stops, std::int64_t min_tokens)
      : text_(seed), matcher_(std::move(stops)), min_tokens_(min_tokens) {}

  /// The texts to send now that `produced` tokens exist; fewer than tokens where a stop string
  /// may have begun. With `last` nothing is held back any more.
  std::vector<std::string> advance(std::int64_t produced, bool last);
  bool stopped() const { return matcher_.stopped(); }
  /// Tokens of the answer so far: those that were produced, up to the one that completed a stop.
  std::int64_t tokens() const { return tokens_; }

 private:
  SyntheticText text_;
  StopMatcher matcher_;
  std::int64_t min_tokens_;
  std::int64_t tokens_ = 0;
};

}  // namespace dyn::serve
