#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "dyn/core/quantity.h"
#include "dyn/core/report.h"

namespace dyn::engine {

/// Counts of gaps between tokens, by size: exact to 1 us, above 131 ms to 17 significant bits,
/// which bounds the memory.
class GapCounts {
 public:
  void add(Duration gap, std::int64_t count);
  /// In order of size.
  std::vector<GapCount> sorted() const;

 private:
  static constexpr int kExactBits = 17;
  static constexpr std::uint64_t kOctave = std::uint64_t{1} << (kExactBits - 1);  ///< its counts
  static constexpr std::size_t kPage = 512;
  using Page = std::array<std::int64_t, kPage>;
  /// From 2^n to 2^(n+1) microseconds; steps of similar length share a page.
  using Octave = std::array<std::unique_ptr<Page>, kOctave / kPage>;

  static std::uint64_t rounded(Duration gap);
  static std::uint64_t microseconds(std::size_t octave, std::size_t place);

  /// The first has all below 2^16 us, in which every microsecond counts as in the next.
  std::array<std::unique_ptr<Octave>, 64 - kExactBits + 2> octaves_;
};

}  // namespace dyn::engine
