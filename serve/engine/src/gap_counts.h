#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "dyn/core/quantity.h"
#include "dyn/core/report.h"
#include "dyn/kvbm/flat_map.h"

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
  static constexpr std::size_t kPage = 512;
  static constexpr std::size_t kPages = (std::size_t{1} << kExactBits) / kPage;
  using Page = std::array<std::int64_t, kPage>;

  static std::uint64_t rounded(Duration gap);
  void add_long(std::uint64_t microseconds, std::int64_t count);

  /// Counts by microseconds, of gaps below 2^kExactBits; steps of similar length share a page.
  std::array<std::unique_ptr<Page>, kPages> pages_;
  std::vector<GapCount> long_;               ///< the others, in order of first occurrence
  kvbm::FlatMap<std::uint32_t> long_index_;  ///< microseconds -> place in long_
};

}  // namespace dyn::engine
