#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dyn/kvbm/block_hash.h"
#include "dyn/kvbm/eviction.h"
#include "dyn/kvbm/flat_map.h"

namespace dyn::kvbm {

/// The blocks of one tier below the device: at most `capacity` of them, found by hash, each empty
/// (its transfer is under way) or readable, and pinned while a transfer fills or reads it. Workers
/// may share one. Bookkeeping only. Deterministic. Not thread-safe.
class TierStore {
 public:
  /// A block that was evicted, and how often it was used.
  struct Left {
    BlockUse use;
    std::uint32_t uses = 0;
  };

  /// `capacity` >= 1.
  TierStore(std::uint64_t capacity, EvictionKind eviction, const RecomputeCost& cost = {});

  std::uint64_t capacity() const { return capacity_; }
  std::uint64_t size() const { return entries_.size(); }  ///< blocks, empty ones included
  std::uint64_t pins() const { return pins_; }            ///< of all blocks
  std::uint64_t evictions() const { return evictions_; }
  /// Blocks that could be reserved now, as far as pins go.
  std::uint64_t room() const { return capacity_ - pinned_; }

  bool has(BlockHash hash) const { return entries_.find(key(hash)) != nullptr; }
  /// The block of this hash if it can be read; kNoEntry if not.
  Entry readable(BlockHash hash) const;
  const BlockUse& use(Entry entry) const { return blocks_[entry].use; }
  std::uint32_t uses(Entry entry) const { return blocks_[entry].uses; }

  /// Makes an empty, pinned block that is to be filled; its hash is not inside. What has to leave
  /// for it is appended to `left`. kNoEntry where every block is pinned or the evictor does not
  /// want it.
  Entry reserve(const BlockUse& use, std::uint32_t uses, std::vector<Left>& left);
  /// The empty block has arrived; it can be read and is no longer pinned.
  void fill(Entry entry);
  /// The empty block will not arrive: it goes.
  void abandon(Entry entry);
  /// A readable block is read by a transfer, or no longer.
  void pin(Entry entry);
  void unpin(Entry entry);
  /// Counts a use of the block, if it is inside; returns how many it has had, 0 if it is not.
  std::uint32_t touch(const BlockUse& use);

  /// From now on, blocks that can be read and those that leave are recorded as events of `tier`.
  void record_events(std::uint8_t tier) { tier_ = tier; }
  /// Events recorded so far, in the order in which they happened, for the owner to hand out and
  /// clear.
  const std::vector<KvEvent>& events() const { return events_; }
  /// Moves them to the end of `to`.
  void take_events(std::vector<KvEvent>& to) {
    to.insert(to.end(), events_.begin(), events_.end());
    events_.clear();
  }

  /// Asserts that map, evictor, pins and counts agree.
  void check_invariants() const;

 private:
  struct Block {
    BlockUse use;
    std::uint32_t uses = 0;
    std::uint32_t pins = 0;
    bool inside = false;
    bool full = false;
  };
  static std::uint64_t key(BlockHash hash) { return static_cast<std::uint64_t>(hash); }
  void drop(Entry entry);
  void record(KvEvent::Kind kind, BlockHash hash) {
    if (tier_ > 0) {
      events_.push_back({kind, hash, 0, 1, tier_});
    }
  }

  std::uint64_t capacity_;
  std::unique_ptr<Evictor> evictor_;
  std::vector<Block> blocks_;
  std::vector<Entry> spare_;
  FlatMap<Entry> entries_;
  std::uint64_t pins_ = 0;
  std::uint64_t pinned_ = 0;  ///< blocks with a pin
  std::uint64_t evictions_ = 0;
  std::vector<KvEvent> events_;
  std::uint8_t tier_ = 0;  ///< 0: records nothing
};

}  // namespace dyn::kvbm
