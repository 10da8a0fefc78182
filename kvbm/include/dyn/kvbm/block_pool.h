#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dyn/core/id.h"
#include "dyn/kvbm/block_hash.h"

namespace dyn::kvbm {

/// The KV blocks of one engine, as vLLM's V1 block pool keeps them: reference counts, a map from
/// hash to block, and one list of free blocks in the order in which they will be taken. A block
/// whose last reference goes joins the end of that list and keeps its contents, and so can be
/// found again until it is taken for something else. A request's blocks are released suffix
/// first, so that prefixes live longest.
///
/// Only blocks with a hash are told apart. The others (output, partly filled, not cacheable) are
/// interchangeable and are merely counted: neighbours in the free list are one entry. Taking or
/// releasing any number of them costs O(blocks that lose their hash), not O(blocks), and what
/// can be observed - hits, evictions and their order - is the same.
///
/// Two requests may compute the same block at the same time; both copies are kept under the hash
/// and the one named first is found first. `stored` is recorded for the first copy, `removed` for
/// the last.
///
/// Bookkeeping only: no memory is touched. Deterministic. Not thread-safe.
class BlockPool {
 public:
  explicit BlockPool(std::uint64_t blocks);

  std::uint64_t total() const { return total_; }
  std::uint64_t free() const { return free_; }           ///< takeable, those cached included
  std::uint64_t cached() const { return cached_; }       ///< free, but still found by hash
  std::uint64_t used() const { return total_ - free_; }  ///< referenced by someone

  /// How many blocks, at least, can be taken before one loses its hash. O(1).
  std::uint64_t uncached_front() const {
    return head_ != kNone && nodes_[head_].kind == Kind::nameless ? nodes_[head_].count : 0;
  }

  /// A leading run of blocks found by hash.
  struct Match {
    std::uint32_t blocks = 0;  ///< how many
    std::uint32_t idle = 0;    ///< of these, how many are free now: acquiring them uses these up
  };
  /// Looks up the first `limit` blocks until one is missing; the ids go to `found` (overwritten).
  Match match(const PromptBlocks& blocks, std::uint32_t limit, std::vector<BlockId>& found) const;

  /// Adds a reference to each of `blocks`, just matched.
  void acquire(std::span<const BlockId> blocks);
  /// Takes `count` nameless blocks from the front of the free list; those among them that were
  /// cached lose their hash. Asserts count <= free().
  void take(std::uint64_t count);
  /// Puts taken nameless blocks under the hashes of the prompt's blocks [begin, end), with one
  /// reference each, and appends their ids to `named`.
  void publish(const PromptBlocks& blocks, std::uint32_t begin, std::uint32_t end,
               std::vector<BlockId>& named);
  /// Gives back a request's blocks: the nameless ones, which follow the others, then `named`
  /// (in order of position) from the last to the first.
  void release(std::span<const BlockId> named, std::uint64_t nameless);
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
  /// A block with a hash, or a run of free blocks without.
  struct Node {
    BlockHash hash{};
    std::uint32_t previous = kNone;  ///< in the free list
    std::uint32_t next = kNone;
    std::uint32_t next_in_bucket = kNone;
    std::uint32_t count = 0;  ///< named: references; nameless: length of the run
    Kind kind = Kind::spare;
  };
  /// Hashes that are looked up together, so that memory is fetched for all at once.
  static constexpr std::uint32_t kBatch = 16;

  std::uint32_t new_node(Kind kind, std::uint32_t count);
  void append(std::uint32_t node);
  void unlink(std::uint32_t node);
  void append_nameless(std::uint64_t count);
  std::size_t bucket(BlockHash hash) const;
  void prefetch(const PromptBlocks& blocks, std::uint32_t begin, std::uint32_t end,
                BlockHash (&hashes)[kBatch]) const;
  std::uint32_t find(BlockHash hash) const;
  void name(std::uint32_t node, BlockHash hash);
  void forget(std::uint32_t node);
  void record(KvEvent::Kind kind, BlockHash hash);

  std::uint64_t total_;
  std::uint64_t free_;
  std::uint64_t cached_ = 0;
  std::uint64_t nameless_used_ = 0;
  std::uint32_t head_ = kNone;  ///< taken next
  std::uint32_t tail_ = kNone;
  std::vector<Node> nodes_;
  std::vector<std::uint32_t> spare_;
  std::vector<std::uint32_t> buckets_;  ///< first named node of each; empty until one is named
  int bucket_shift_ = 64;
  std::vector<KvEvent> events_;
  bool recording_ = false;
};

}  // namespace dyn::kvbm
