#pragma once

#include <cstdint>
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
  std::vector<GapCount> counts_;        ///< in order of first occurrence
  kvbm::FlatMap<std::uint32_t> index_;  ///< microseconds -> place in counts_
  std::uint64_t last_key_ = 0;          ///< the steps of a run often take the same time
  std::uint32_t last_ = 0;
};

}  // namespace dyn::engine
