#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dyn/kvbm/block_hash.h"
#include "dyn/kvbm/eviction.h"
#include "dyn/kvbm/flat_map.h"

namespace dyn::kvbm {

/// The blocks with a hash that a request holds of a pool, in order of position. The pool alone
/// looks inside.
class HeldBlocks {
 public:
  std::uint32_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  void clear() {
    pieces_.clear();
    size_ = 0;
  }
  /// Adds blocks that follow these.
  void append(const HeldBlocks& others) {
    pieces_.insert(pieces_.end(), others.pieces_.begin(), others.pieces_.end());
    size_ += others.size_;
  }
  bool operator==(const HeldBlocks&) const = default;

 private:
  friend class BlockPool;
  /// Blocks [first, end) of a segment: those of a node, then of the nodes split off from it.
  struct Piece {
    std::uint32_t node = 0;
    std::uint32_t first = 0;
    std::uint32_t end = 0;
    bool operator==(const Piece&) const = default;
  };
  std::vector<Piece> pieces_;
  std::uint32_t size_ = 0;
};

/// The KV blocks of one engine, as vLLM's V1 block pool keeps them: reference counts, a map from
/// hash to block, and one list of free blocks in the order in which they will be taken. A block
/// whose last reference goes joins the end of that list and keeps its contents, and so can be
/// found again until it is taken for something else. A request's blocks are released suffix
/// first, so that prefixes live longest.
///
/// What can be observed - hits, evictions and their order - is that of one entry a block; the
/// cost is not. Blocks without a hash (output, partly filled, not cacheable) are interchangeable
/// and are merely counted: neighbours in the free list are one entry. Blocks of one segment that
/// have the same references are one entry too, split when a request uses some of them only. So
/// every call costs O(segments), not O(blocks).
///
/// Two requests may compute the same block at the same time; both copies are kept under the hash
/// and the one named first is found first. `stored` is recorded for the first copy, `removed` for
/// the last.
///
/// That order is LRU. With another eviction an Evictor chooses among the cached blocks once no
/// other is free. It is told of each, so that every call costs O(blocks) then; and of two copies
/// of a block one that nobody holds is not kept.
///
/// Bookkeeping only: no memory is touched. Deterministic. Not thread-safe.
class BlockPool {
 public:
  /// `eviction` is none that must know the future; `cost` is for cost_aware.
  explicit BlockPool(std::uint64_t blocks, EvictionKind eviction = EvictionKind::lru,
                     const RecomputeCost& cost = {});

  std::uint64_t total() const { return total_; }
  std::uint64_t free() const { return free_; }           ///< takeable, those cached included
  std::uint64_t cached() const { return cached_; }       ///< free, but still found by hash
  std::uint64_t used() const { return total_ - free_; }  ///< referenced by someone

  /// How many blocks, at least, can be taken before one loses its hash. O(1).
  std::uint64_t uncached_front() const {
    return head_ != kNone && nodes_[head_].kind == Kind::nameless ? nodes_[head_].count() : 0;
  }

  /// A leading run of blocks found by hash.
  struct Match {
    std::uint32_t blocks = 0;  ///< how many
    std::uint32_t idle = 0;    ///< of these, how many are free now: acquiring them uses these up
  };
  /// Looks up the first `limit` blocks until one is missing; `found` (overwritten) is what
  /// acquire() needs to hold them.
  Match match(const PromptBlocks& blocks, std::uint32_t limit, HeldBlocks& found) const;

  /// Consecutive blocks of a prompt.
  struct Run {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    bool operator==(const Run&) const = default;
  };
  /// Which of the first `limit` blocks are found, as runs that do not touch. They are appended to
  /// `runs`, moved by `offset`; what touches the run before them becomes part of it. O(segments).
  void cached_runs(const PromptBlocks& blocks, std::uint32_t limit, std::uint32_t offset,
                   std::vector<Run>& runs) const;
  /// Appends the blocks [begin, end), all of which are found, to `found` for acquire(). Returns how
  /// many of them are free now.
  std::uint32_t match_range(const PromptBlocks& blocks, std::uint32_t begin, std::uint32_t end,
                            HeldBlocks& found) const;

  /// Adds a reference to each of `blocks`, just matched, which then are held.
  void acquire(HeldBlocks& blocks);
  /// Takes `count` nameless blocks from the front of the free list; those among them that were
  /// cached lose their hash. Asserts count <= free().
  void take(std::uint64_t count);
  /// Puts taken nameless blocks under the hashes of the prompt's blocks [begin, end), with one
  /// reference each, and appends them to `held`.
  void publish(const PromptBlocks& blocks, std::uint32_t begin, std::uint32_t end,
               HeldBlocks& held);
  /// Gives back the first `count` of the blocks, which the others then are held without.
  void release_front(HeldBlocks& held, std::uint32_t count);
  /// Gives back a request's blocks: the nameless ones, which follow the others, then `held`
  /// from the last to the first.
  void release(const HeldBlocks& held, std::uint64_t nameless);
  /// Forgets all cached contents, as after a change of weights. False, and nothing happens,
  /// while a block is referenced.
  bool clear();

  /// Whether changes of the cache are recorded (default: no).
  void record_events(bool record) { recording_ = record; }
  /// The changes since the owner last emptied this list.
  std::vector<KvEvent>& events() { return events_; }

  /// Asserts that every block is in exactly one place. `references` is the sum over requests of
  /// the blocks they hold by name, `nameless` of those they hold without.
  void check_invariants(std::uint64_t references, std::uint64_t nameless) const;

 private:
  static constexpr std::uint32_t kNone = static_cast<std::uint32_t>(-1);
  enum class Kind : std::uint8_t { spare, named, nameless };
  /// Blocks [first, end) of a segment which have the same references and, if free, are neighbours
  /// in the free list, the last of them first; or a run of free nameless blocks.
  struct Node {
    BlockHash segment{};
    std::uint32_t first = 0;
    std::uint32_t end = 0;
    std::uint32_t references = 0;
    std::uint32_t previous = kNone;  ///< in the free list
    std::uint32_t next = kNone;
    std::uint32_t next_copy = kNone;  ///< of the segment, in the order in which they were named
    std::uint32_t rest = kNone;       ///< split off: what was behind `end`; for its holders only
    Kind kind = Kind::spare;
    bool told = true;  ///< in events

    std::uint32_t count() const { return end - first; }
  };

  static std::uint64_t key(BlockHash hash) { return static_cast<std::uint64_t>(hash); }
  std::uint32_t new_node(Kind kind, std::uint32_t first, std::uint32_t end);
  void append(std::uint32_t node);
  void unlink(std::uint32_t node);
  void append_nameless(std::uint64_t count);
  void append_named(std::uint32_t node);
  void split(std::uint32_t node, std::uint32_t at);
  std::uint32_t node_at(const HeldBlocks::Piece& piece, std::uint32_t block) const;
  /// The first copy that has a block of the segment, or kNone; `first` is first_copy() of it.
  /// `end` is lowered to where that answer changes.
  std::uint32_t find(BlockHash segment, std::uint32_t first, std::uint32_t at,
                     std::uint32_t& end) const;
  void name(const BlockRange& range, bool told, HeldBlocks& held);
  /// The copy of a segment that was named first, or kNone, as it is where an evictor has blocks.
  std::uint32_t first_copy(BlockHash segment) const;
  /// The first of `copy` and those named after it that has a block of the segment, or kNone. `end`
  /// is lowered to where that answer changes.
  std::uint32_t copy_with(std::uint32_t copy, std::uint32_t at, std::uint32_t& end) const;
  void remove_copy(std::uint32_t node);
  void evict(std::uint32_t node, std::uint32_t count);
  void record(KvEvent::Kind kind, std::uint32_t node, std::uint32_t first);

  // Where an evictor chooses, a node has one block and is the evictor's entry; `segments_` is by
  // block, and the evictor has the first copy of each. A block that nobody holds has no other.
  void name_each(const BlockRange& range, bool told, HeldBlocks& held);
  void acquire_each(const HeldBlocks& blocks);
  void release_each(const HeldBlocks& held);
  void evict_chosen();
  void enter(std::uint32_t node);
  void let_go(std::uint32_t node);
  void leave(std::uint32_t node);
  void record_one(KvEvent::Kind kind, std::uint32_t node);
  void check_each() const;

  std::uint64_t total_;
  std::uint64_t free_;
  std::uint64_t cached_ = 0;
  std::uint64_t nameless_used_ = 0;
  std::uint32_t head_ = kNone;  ///< taken next
  std::uint32_t tail_ = kNone;
  std::vector<Node> nodes_;
  std::vector<std::uint32_t> spare_;
  FlatMap<std::uint32_t> segments_;  ///< segment -> the node of it that was named first
  std::vector<KvEvent> events_;
  bool recording_ = false;
  std::vector<std::uint32_t> scratch_;  ///< of release
  EvictionKind eviction_;
  RecomputeCost cost_;
  std::unique_ptr<Evictor> evictor_;  ///< null: the free list's order
  std::vector<BlockUse> uses_;        ///< by node, where there is an evictor
};

}  // namespace dyn::kvbm
