#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace dyn::policy {

/// The sequences that decode, one token a step each, as sums: how many there are, their context,
/// and how many cross into a new KV block at each step, by residue of their length modulo the
/// block size. `steps` counts the steps ended; a sequence has base + steps tokens.
class DecodeSet {
 public:
  explicit DecodeSet(std::int64_t block_size)
      : crossing_(static_cast<std::size_t>(block_size), 0) {}

  std::int64_t count() const { return count_; }
  std::int64_t steps() const { return steps_; }
  /// Sum of tokens, the one being computed included.
  std::int64_t context() const { return base_sum_ + count_ * steps_; }
  /// Blocks that the step after `ahead` more steps needs. A sequence of n tokens, the newest of
  /// which gets its KV in this step, needs one if n - 1 fill whole blocks.
  std::int64_t blocks_needed(std::int64_t ahead = 0) const {
    return crossing_[residue(1 - steps_ - ahead)];
  }
  /// Blocks that the `steps` steps after this one need together.
  std::int64_t blocks_ahead(std::int64_t steps) const {
    const std::int64_t size = block_size();
    std::int64_t sum = steps / size * count_;
    for (std::int64_t j = 1; j <= steps % size; ++j) {
      sum += blocks_needed(j);
    }
    return sum;
  }
  /// The most steps, up to `limit`, after this one that need no more than `blocks` together.
  std::int64_t steps_within(std::int64_t blocks, std::int64_t limit) const {
    if (blocks_ahead(limit) <= blocks) {
      return limit;
    }
    std::int64_t steps = blocks / count_ * block_size();
    std::int64_t left = blocks % count_;
    while (steps < limit && blocks_needed(steps + 1) <= left) {
      ++steps;
      left -= blocks_needed(steps);
    }
    return std::min(steps, limit);
  }

  /// A sequence of `tokens` tokens joins; returns its base.
  std::int64_t join(std::int64_t tokens) {
    const std::int64_t base = tokens - steps_;
    ++count_;
    base_sum_ += base;
    ++crossing_[residue(base)];
    return base;
  }
  void leave(std::int64_t base) {
    --count_;
    base_sum_ -= base;
    --crossing_[residue(base)];
  }
  void advance(std::int64_t steps) { steps_ += steps; }

 private:
  std::int64_t block_size() const { return static_cast<std::int64_t>(crossing_.size()); }
  std::size_t residue(std::int64_t base) const {
    const std::int64_t r = base % block_size();
    return static_cast<std::size_t>(r < 0 ? r + block_size() : r);
  }

  std::int64_t count_ = 0;
  std::int64_t steps_ = 0;
  std::int64_t base_sum_ = 0;
  std::vector<std::int64_t> crossing_;
};

}  // namespace dyn::policy
