#pragma once

#include <cstdint>
#include <vector>

namespace dyn::policy {

/// Decoding sequences whose sliding windows move over blocks without a hash, as sums: how many
/// windows leave a block behind at each token, by residue of the sequences' length modulo the block
/// size. A sequence of base + made tokens, all but the newest computed, has left behind the blocks
/// that end before its next token's window: those within its first base + made - window tokens.
class SlidingSet {
 public:
  SlidingSet(std::int64_t block_size, std::int64_t window)
      : window_(window), residues_(static_cast<std::size_t>(block_size), 0) {}

  std::int64_t count() const { return count_; }
  void join(std::int64_t base) {
    ++count_;
    ++residues_[residue(base)];
  }
  void leave(std::int64_t base) {
    --count_;
    --residues_[residue(base)];
  }
  /// Blocks that all windows together leave behind from `from` tokens made to `to`.
  std::int64_t left_behind(std::int64_t from, std::int64_t to) const {
    const auto size = static_cast<std::int64_t>(residues_.size());
    std::int64_t sum = (to - from) / size * count_;
    for (std::int64_t i = (to - from) % size; i > 0; --i) {
      sum += residues_[residue(window_ - (to - i + 1))];
    }
    return sum;
  }

 private:
  std::size_t residue(std::int64_t base) const {
    const auto size = static_cast<std::int64_t>(residues_.size());
    const std::int64_t r = base % size;
    return static_cast<std::size_t>(r < 0 ? r + size : r);
  }

  std::int64_t window_;
  std::int64_t count_ = 0;
  std::vector<std::int64_t> residues_;
};

}  // namespace dyn::policy
