#pragma once

#include <cstdint>

#include "residue_counts.h"

namespace dyn::policy {

/// Decoding sequences whose sliding windows move over blocks without a hash, as sums. A sequence of
/// base + made tokens, all but the newest computed, has left behind the blocks that end before its
/// next token's window: those within its first base + made - window tokens.
class SlidingSet {
 public:
  SlidingSet(std::int64_t block_size, std::int64_t window)
      : window_(window), lengths_(block_size) {}

  std::int64_t count() const { return lengths_.count(); }
  void join(std::int64_t base) { lengths_.join(base); }
  void leave(std::int64_t base) { lengths_.leave(base); }
  /// Blocks that all windows together leave behind from `from` tokens made to `to`.
  std::int64_t left_behind(std::int64_t from, std::int64_t to) const {
    return lengths_.crossings(from, to, window_ - 1);
  }

 private:
  std::int64_t window_;
  ResidueCounts lengths_;
};

}  // namespace dyn::policy
