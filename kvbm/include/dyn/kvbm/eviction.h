#pragma once

#include <cstdint>
#include <limits>
#include <memory>

#include "dyn/core/engine_config.h"
#include "dyn/kvbm/block_hash.h"

namespace dyn::kvbm {

/// Index of a block within its cache; small, since evictors keep arrays by it.
using Entry = std::uint32_t;
inline constexpr Entry kNoEntry = static_cast<Entry>(-1);

/// What a use of a block tells about it.
struct BlockUse {
  static constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

  BlockHash hash{};
  BlockHash parent{};          ///< the block before it in its prompt; meaningless at position 0
  std::uint32_t position = 0;  ///< blocks before it in its prompt
  std::uint64_t next_use = kNever;  ///< number of the next request with it, for the Belady bound
};

/// What it costs to compute a block again, by its position: `base + slope * position`, in
/// nanoseconds (attention makes later ones dearer). Only the ratio matters to an evictor.
struct RecomputeCost {
  std::uint64_t base = 1'000'000;
  std::uint64_t slope = 0;
  std::uint64_t of(std::uint32_t position) const { return base + slope * position; }
};

/// Decides which block leaves a cache of fixed capacity. It is told of every block that comes,
/// is used again, or leaves. Owners use the blocks of a prompt from its end to its beginning, so
/// that, other things equal, a prefix outlives what follows it. Deterministic. Not thread-safe.
class Evictor {
 public:
  virtual ~Evictor() = default;

  /// A block that is not inside comes in; the owner has made room.
  virtual void insert(Entry entry, const BlockUse& use) = 0;
  /// A block inside is used again.
  virtual void hit(Entry entry, const BlockUse& use) = 0;
  /// A block leaves for another reason than evict().
  virtual void remove(Entry entry) = 0;
  /// Whether a block should come into a full cache at all. Only the Belady bound says no (to one
  /// whose next use is farther than that of every block inside).
  virtual bool admits(const BlockUse&) const { return true; }
  /// Takes out the block that is worth least of those not pinned; kNoEntry if there is none.
  virtual Entry evict() = 0;
  /// A pinned block (one that a transfer reads or fills) is never evicted. Default: not pinned;
  /// a block must not be pinned when it leaves.
  virtual void pin(Entry entry, bool pinned) = 0;
  /// Blocks inside.
  virtual std::uint64_t size() const = 0;
  /// Asserts that its books are in order; for tests and ends of runs.
  virtual void check_invariants() const = 0;
};

/// The evictor of a kind, for a cache of `capacity` blocks (>= 1):
///  - lru: the block not used for longest.
///  - s3_fifo: three FIFO queues. New blocks wait in a small one of a tenth of the cache; those
///    used more than once there move to the main queue, in which a used block goes round again,
///    at most three times; ghosts of the others are remembered, and come back into the main
///    queue. Source: Yang et al., FIFO Queues are All You Need for Cache Eviction, SOSP '23,
///    algorithm 1.
///  - tiny_lfu: W-TinyLFU. A window of a hundredth of the cache, LRU; what falls out of it gets
///    into the main part (segmented LRU, four fifths protected) only if it is used more often,
///    by a count-min sketch that halves after ten uses a block, than what would leave for it.
///    Source: Einziger, Friedman, Manes, TinyLFU: A Highly Efficient Cache Admission Policy,
///    ACM Transactions on Storage 13(4), 2017.
///  - cost_aware: of the blocks that no cached block follows, the one with the least
///    clock + uses * cost of computing it again, where the clock is that of the last one evicted,
///    so that old uses fade. Source: GreedyDual-Size with frequency, Cherkasova, HPL-98-69, 1998;
///    only ends of chains leave, as in SGLang's radix cache, since a block without those before
///    it is worth nothing.
///  - belady: the block whose next use is farthest, a later one of its prompt first: the most
///    hits that any evictor can have, for which the future (BlockUse::next_use) must be known.
///    Source: Belady, IBM Systems Journal 5(2), 1966.
std::unique_ptr<Evictor> make_evictor(EvictionKind kind, std::uint64_t capacity,
                                      const RecomputeCost& cost = {});

}  // namespace dyn::kvbm
