#pragma once

#include <cstdint>
#include <vector>

namespace dyn::policy {

/// Sequences that all grow by a token at a time, as counts by residue of their length modulo the
/// block size: how many blocks they begin, or leave behind, together. A sequence has base + made
/// tokens.
class ResidueCounts {
 public:
  explicit ResidueCounts(std::int64_t block_size)
      : counts_(static_cast<std::size_t>(block_size), 0) {}

  std::int64_t count() const { return count_; }
  void join(std::int64_t base) {
    ++count_;
    ++counts_[residue(base)];
  }
  void leave(std::int64_t base) {
    --count_;
    --counts_[residue(base)];
  }
  /// How often, from `from` tokens made to `to`, a sequence is about to make a token with which it
  /// has `whole` tokens more than whole blocks.
  std::int64_t crossings(std::int64_t from, std::int64_t to, std::int64_t whole) const {
    const std::int64_t size = block_size();
    std::int64_t sum = (to - from) / size * count_;
    for (std::int64_t i = (to - from) % size; i > 0; --i) {
      sum += counts_[residue(whole - (to - i))];
    }
    return sum;
  }

 private:
  std::int64_t block_size() const { return static_cast<std::int64_t>(counts_.size()); }
  std::size_t residue(std::int64_t base) const {
    const std::int64_t r = base % block_size();
    return static_cast<std::size_t>(r < 0 ? r + block_size() : r);
  }

  std::int64_t count_ = 0;
  std::vector<std::int64_t> counts_;
};

/// The most steps, up to `limit`, that are fine; fewer than fine ones are fine, and none is.
template <class Fine>
std::int64_t most_steps(std::int64_t limit, Fine fine) {
  if (fine(limit)) {
    return limit;
  }
  std::int64_t low = 0;
  std::int64_t high = limit;  // is not
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (fine(middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace dyn::policy
