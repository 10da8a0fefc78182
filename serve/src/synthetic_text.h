#pragma once

#include <cstdint>
#include <string>

namespace dyn::serve {

/// The text that a simulated engine answers with: common English words and full stops, the same
/// for the same prompt. One token is one piece: a word with the space before it, or a full stop.
class SyntheticText {
 public:
  explicit SyntheticText(std::uint64_t seed) : seed_(seed) {}

  /// The piece of the `index`-th token (from 0). Plain ASCII, never empty.
  std::string piece(std::int64_t index) const;

 private:
  std::uint64_t seed_;
};

}  // namespace dyn::serve
