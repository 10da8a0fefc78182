#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dyn/core/id.h"
#include "dyn/kvbm/block_hash.h"
#include "dyn/kvbm/flat_map.h"

namespace dyn::kvbm {

/// Which workers have which blocks cached, as told by their KV events: a flat map from segment to
/// a set of workers (a bit each) that have all of its known blocks, and a list of ranges for those
/// that have some. Memory is bounded: above `max_segments` the index forgets the least useful,
/// found by a clock hand that spares segments found by a look-up since it last passed. Forgetting
/// makes a later answer shorter, never wrong. Deterministic. Not thread-safe.
class PrefixIndex {
 public:
  PrefixIndex(std::uint32_t workers, std::uint64_t max_segments);

  /// Blocks were cached at, or evicted from, a worker. Saying so twice is the same as once.
  void stored(WorkerId worker, const BlockRange& range);
  void removed(WorkerId worker, const BlockRange& range);
  /// The same for a block that is a segment.
  void stored(WorkerId worker, BlockHash hash) { stored(worker, BlockRange{hash, 0, 1}); }
  void removed(WorkerId worker, BlockHash hash) { removed(worker, BlockRange{hash, 0, 1}); }
  /// The worker's cache is gone. O(segments in the index).
  void remove_worker(WorkerId worker);
  /// A KV event of a worker.
  void apply(WorkerId worker, const KvEvent& event);

  /// For each worker, how many leading blocks of the prompt it has; `runs` has one entry per
  /// worker and is overwritten. Stops at the first block that no worker of the leading run has:
  /// O(segments of the longest run * workers / 64 + workers).
  void leading_runs(const PromptBlocks& blocks, std::span<std::uint32_t> runs);

  /// The workers that have a block that is a segment, a bit each; empty where nobody has. Valid
  /// until the next event. Counts as a look-up.
  std::span<const std::uint64_t> holders(BlockHash block) {
    const std::uint32_t* known = map_.find(static_cast<std::uint64_t>(block));
    if (known == nullptr) {
      return {};
    }
    entries_[*known].found = true;
    return {bits(*known), words_};
  }

  std::uint64_t segments() const { return map_.size(); }  ///< known
  /// Blocks known of the worker.
  std::uint64_t blocks(WorkerId worker) const { return per_worker_[worker.value()]; }
  std::uint64_t evictions() const { return evictions_; }  ///< segments forgotten for want of room
  std::uint64_t bytes() const;                            ///< memory in use

  /// Asserts that counts, map and sets agree; for tests.
  void check_invariants() const;

 private:
  static constexpr std::uint32_t kNone = static_cast<std::uint32_t>(-1);
  /// Blocks [first, end) that a worker has.
  struct Part {
    std::uint32_t worker = 0;
    std::uint32_t first = 0;
    std::uint32_t end = 0;
  };
  /// Of workers that have some blocks only; in order of worker and position, not touching.
  using Parts = std::vector<Part>;
  struct Entry {
    BlockHash segment{};
    std::uint32_t length = 0;  ///< blocks that some worker has end here; 0: entry unused
    std::uint32_t whole = 0;   ///< workers that have [0, length): those with a bit
    std::uint32_t parts = kNone;
    bool found = false;  ///< by a look-up, since the hand passed
  };

  std::uint64_t* bits(std::uint32_t entry) { return &bits_[std::size_t{entry} * words_]; }
  const std::uint64_t* bits(std::uint32_t entry) const {
    return &bits_[std::size_t{entry} * words_];
  }
  bool has_whole(std::uint32_t entry, std::uint32_t worker) const {
    return (bits(entry)[worker / 64] >> (worker % 64) & 1) != 0;
  }
  void set_whole(std::uint32_t entry, std::uint32_t worker, bool whole);
  std::uint32_t new_entry(BlockHash segment);
  void erase(std::uint32_t entry);
  void evict_one();
  Parts& parts_of(std::uint32_t entry);
  void drop_parts_if_empty(std::uint32_t entry);
  void lengthen(std::uint32_t entry, std::uint32_t length);
  void shorten(std::uint32_t entry);
  void add_part(std::uint32_t entry, Part part);
  void subtract(std::uint32_t entry, Part part);
  void continue_partial(std::uint32_t entry, const BlockRange& range, std::uint32_t before,
                        std::span<std::uint32_t> runs);

  std::uint32_t workers_;
  std::uint32_t words_;
  std::uint64_t max_segments_;
  std::uint64_t evictions_ = 0;
  std::uint32_t hand_ = 0;
  FlatMap<std::uint32_t> map_;
  std::vector<Entry> entries_;
  std::vector<std::uint64_t> bits_;  ///< by entry, `words_` each
  std::vector<std::uint32_t> spare_;
  std::vector<Parts> parts_;
  std::vector<std::uint32_t> spare_parts_;
  std::vector<std::uint64_t> per_worker_;
  std::vector<std::uint64_t> alive_;  ///< scratch of leading_runs
  std::vector<std::uint64_t> going_;  ///< the same
};

}  // namespace dyn::kvbm
