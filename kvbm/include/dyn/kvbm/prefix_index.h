#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dyn/core/id.h"
#include "dyn/kvbm/block_hash.h"
#include "dyn/kvbm/flat_map.h"

namespace dyn::kvbm {

/// Which workers have which blocks cached, as told by their KV events: a flat map from block hash
/// to a set of workers (a bit each). Memory is bounded: above `max_blocks` distinct blocks the
/// index forgets the least useful, found by a clock hand that spares blocks found by a look-up
/// since it last passed. Forgetting makes a later answer shorter, never wrong. Deterministic.
/// Not thread-safe.
class PrefixIndex {
 public:
  PrefixIndex(std::uint32_t workers, std::uint64_t max_blocks);

  /// A block was cached at, or evicted from, a worker. Saying so twice is the same as once.
  void stored(WorkerId worker, BlockHash hash);
  void removed(WorkerId worker, BlockHash hash);
  /// The worker's cache is gone. O(blocks in the index).
  void remove_worker(WorkerId worker);
  /// A KV event of a worker.
  void apply(WorkerId worker, const KvEvent& event);

  /// For each worker, how many leading blocks of the prompt it has; `runs` has one entry per
  /// worker and is overwritten. Stops at the first block that no worker of the leading run has:
  /// O(longest run * workers / 64). With a stride, only every stride-th block counts, the first
  /// being block stride - 1, and runs are in strides.
  void leading_runs(const PromptBlocks& blocks, std::span<std::uint32_t> runs,
                    std::uint32_t stride = 1);

  std::uint64_t blocks() const { return map_.size(); }  ///< distinct blocks known
  std::uint64_t blocks(WorkerId worker) const { return per_worker_[worker.value()]; }
  std::uint64_t evictions() const { return evictions_; }  ///< forgotten for want of room
  std::uint64_t bytes() const;                            ///< memory in use

  /// Asserts that counts, map and sets agree; for tests.
  void check_invariants() const;

 private:
  std::uint64_t* bits(std::uint32_t entry) { return &bits_[std::size_t{entry} * words_]; }
  const std::uint64_t* bits(std::uint32_t entry) const {
    return &bits_[std::size_t{entry} * words_];
  }
  std::uint32_t new_entry(BlockHash hash);
  void erase(std::uint32_t entry);
  void evict_one();

  std::uint32_t workers_;
  std::uint32_t words_;
  std::uint64_t max_blocks_;
  std::uint64_t evictions_ = 0;
  std::uint32_t hand_ = 0;
  FlatMap<std::uint32_t> map_;
  std::vector<BlockHash> hashes_;    ///< by entry
  std::vector<std::uint64_t> bits_;  ///< by entry, `words_` each; all zero: entry unused
  std::vector<std::uint8_t> found_;  ///< by entry: seen by a look-up since the hand passed
  std::vector<std::uint32_t> spare_;
  std::vector<std::uint64_t> per_worker_;
  std::vector<std::uint64_t> alive_;  ///< scratch of leading_runs
};

}  // namespace dyn::kvbm
