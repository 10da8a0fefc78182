#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <vector>

#include "dyn/kvbm/block_hash.h"

namespace dyn::kvbm {

/// How often hashes were seen, about: a count-min sketch with four rows of counters up to 15, as
/// many a row as the cache has blocks, all halved after ten uses a block, so that old uses fade.
/// Until then it never counts too few (below 15). Source: as for tiny_lfu in eviction.h.
class FrequencySketch {
 public:
  explicit FrequencySketch(std::uint64_t capacity)
      : mask_(std::bit_ceil(std::max<std::uint64_t>(capacity, 16)) - 1),
        period_(10 * std::max<std::uint64_t>(capacity, 1)) {
    for (std::vector<std::uint8_t>& row : rows_) {
      row.assign(mask_ + 1, 0);
    }
  }

  unsigned count(BlockHash hash) const {
    unsigned least = kMost;
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      least = std::min<unsigned>(least, rows_[row][place(hash, row)]);
    }
    return least;
  }
  void add(BlockHash hash) {
    bool added = false;
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      std::uint8_t& counter = rows_[row][place(hash, row)];
      added = added || counter < kMost;
      counter = std::min<std::uint8_t>(counter + 1, kMost);
    }
    if (added && ++seen_ == period_) {
      halve();
    }
  }

 private:
  static constexpr std::uint8_t kMost = 15;

  std::size_t place(BlockHash hash, std::size_t row) const {
    // Odd multipliers of Steele and Vigna's table for 64-bit generators.
    static constexpr std::array<std::uint64_t, 4> kSeeds = {
        0xd1342543de82ef95u, 0xaf251af3b0f025b5u, 0x9e3779b97f4a7c15u, 0xf1357aea2e62a9c5u};
    const std::uint64_t mixed = (static_cast<std::uint64_t>(hash) + row) * kSeeds[row];
    return static_cast<std::size_t>((mixed ^ mixed >> 32) & mask_);
  }
  void halve() {
    for (std::vector<std::uint8_t>& row : rows_) {
      for (std::uint8_t& counter : row) {
        counter /= 2;
      }
    }
    seen_ /= 2;
  }

  std::uint64_t mask_;
  std::uint64_t period_;
  std::uint64_t seen_ = 0;
  std::array<std::vector<std::uint8_t>, 4> rows_;
};

}  // namespace dyn::kvbm
