#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "dyn/core/id.h"
#include "dyn/core/kv_tiers.h"
#include "dyn/core/quantity.h"
#include "dyn/kvbm/block_hash.h"
#include "dyn/kvbm/tier_store.h"

namespace dyn::kvbm {

using TierTransferId = Id<struct TierTransferTag, std::uint32_t>;

/// The requests that come after the one at hand and have its blocks: for each block (or larger
/// block of a trace, see PromptBlocks) the number of the next one, BlockUse::kNever if there is
/// none. Known of a trace alone. A view.
struct NextUses {
  std::span<const std::uint64_t> by_block;
  std::uint32_t factor = 1;
  std::uint64_t of(std::uint32_t block) const {
    return by_block.empty() ? BlockUse::kNever : by_block[block / factor];
  }
};

/// A prompt's full blocks and, where it is known, their future.
struct PromptUse {
  PromptBlocks blocks;
  NextUses future;
};

/// One tier as an engine sees it.
struct TierLevel {
  std::shared_ptr<TierStore> store;
  TierWrite write = TierWrite::through;
  std::uint32_t after_uses = 1;
  BytesPerSec read_bandwidth{0};  ///< for predictions; 0: only the latency counts
  Duration latency{0};
  /// The events of the store are this engine's to tell: nobody else has it.
  bool tells = false;
};

struct TiersOptions {
  std::vector<TierLevel> levels;  ///< from the device outwards; not empty
  Bytes block_bytes{0};
  std::uint32_t max_transfers = 32;  ///< in flight, of loads and of writes each
};

/// A movement of blocks that has begun. Level 0 is the device, level n the n-th tier below it.
struct TierTransfer {
  TierTransferId id;
  std::uint8_t from = 0;
  std::uint8_t to = 0;
  Bytes bytes{0};
};

/// What moved to and from one tier, in whole transfers that were not given up.
struct TierTraffic {
  std::int64_t blocks_read = 0;     ///< towards the device
  std::int64_t blocks_written = 0;  ///< into the tier, by writes and when read from a lower one
  std::int64_t blocks_dropped = 0;  ///< should have been written, but too much was in flight
};

/// The tiers below one engine's device memory, and the transfers between them. Blocks come into a
/// tier from the one above, when they have come there (write-through) or are evicted from there
/// (write-back), after so many uses; blocks that are read from a lower tier pass through and stay
/// in those between. An evicted block is copied out of a staging buffer, so that its place is
/// free at once. A transfer is a transaction: until it ends, or is given up, what it reads and
/// what it fills is pinned.
///
/// The owner says when transfers end: each in `started()` is to be booked, and told by `finish`.
/// Bookkeeping only. Deterministic. Not thread-safe.
class Tiers {
 public:
  explicit Tiers(TiersOptions options);
  /// Gives up what is in flight, so that shared tiers keep no pin.
  ~Tiers();
  Tiers(const Tiers&) = delete;
  Tiers& operator=(const Tiers&) = delete;

  std::size_t levels() const { return options_.levels.size(); }
  Bytes block_bytes() const { return options_.block_bytes; }
  /// Whether what the device evicts is written, so that it must be told in time.
  bool writes_back() const { return options_.levels.front().write == TierWrite::back; }

  /// Blocks [begin, end) of a prompt that lie in `level`.
  struct Run {
    std::uint8_t level = 1;
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
  };
  /// The blocks from `begin` on that can be read from some tier, each from the uppermost, up to
  /// the first that cannot or `end`; neighbours of one level are one run. `runs` is overwritten.
  void lookup(const PromptBlocks& blocks, std::uint32_t begin, std::uint32_t end,
              std::vector<Run>& runs) const;
  /// How long reading so many blocks of a level would take behind the loads in flight from it.
  Duration predicted_read(std::uint8_t level, std::uint32_t blocks) const;
  /// Whether one more load may be in flight for each of `runs`' levels.
  bool may_load(std::span<const Run> runs) const;

  /// Begins to read the runs, just looked up, for a request: to the device, or (prefetch) to the
  /// first tier, as far as there is room. False, and nothing happens, where nothing would move.
  bool load(RequestId request, const PromptUse& prompt, std::span<const Run> runs);
  bool prefetch(RequestId request, const PromptUse& prompt, std::span<const Run> runs);
  /// Gives up all that is being read for the request.
  void give_up(RequestId request);
  /// Gives up every transfer in flight, as when a worker crashes or its links are lost.
  void give_up_all();

  /// Blocks [begin, end) have been computed, or have been loaded, and lie in the device: they are
  /// written through. The transfer that reads them there, if any.
  std::optional<TierTransferId> stored(const PromptUse& prompt, std::uint32_t begin,
                                       std::uint32_t end);
  /// A request uses its whole prompt, of which the first `cached` blocks were found in the
  /// device. Blocks that now have the uses they need are written; the transfer that reads some of
  /// them in the device, if any.
  std::optional<TierTransferId> used(const PromptUse& prompt, std::uint32_t cached);
  /// The device's last copies of these blocks are gone, ends of prompts first; what of them is
  /// written back is one transfer.
  void evicted(std::span<const BlockHash> hashes);

  struct Finished {
    std::optional<RequestId> loaded;  ///< all that was read for this request is there
  };
  /// A transfer has ended. Ids that are not in flight (given up) are ignored.
  Finished finish(TierTransferId id);

  /// Moves the events of the stores whose events are told here to the end of `events`.
  void take_events(std::vector<KvEvent>& events);
  /// Transfers begun since the owner last emptied this list.
  std::vector<TierTransfer>& started() { return started_; }
  std::size_t in_flight() const { return by_id_.size(); }
  const TierTraffic& traffic(std::uint8_t level) const { return traffic_[level - 1]; }
  /// Asserts that no transfer is forgotten and that every store is in order.
  void check_invariants() const;

 private:
  enum class Kind : std::uint8_t { read, write };
  struct Place {
    std::uint8_t level;
    Entry entry;
  };
  struct Transfer {
    TierTransferId id;
    Kind kind = Kind::write;
    std::uint8_t from = 0;
    std::uint8_t to = 0;
    std::uint32_t blocks = 0;
    RequestId request;         ///< of a read
    std::vector<Place> reads;  ///< pinned
    std::vector<Place> fills;  ///< empty and pinned, in all levels that the blocks come into
  };
  using Moved = TierStore::Left;  ///< a block and how often it was used

  TierStore& store(std::uint8_t level) const { return *options_.levels[level - 1].store; }
  const TierLevel& level(std::uint8_t level) const { return options_.levels[level - 1]; }
  void expand(const PromptUse& prompt, std::uint32_t begin, std::uint32_t end);
  bool wants(std::uint8_t below, TierWrite when, BlockHash hash, std::uint32_t uses) const;
  bool read(RequestId request, std::uint8_t to, const PromptUse& prompt, std::span<const Run> runs);
  bool add_read(Transfer& transfer, Entry source);
  std::optional<TierTransferId> write(std::uint8_t from, std::span<const Moved> blocks,
                                      bool staged);
  Entry reserve(std::uint8_t level, const BlockUse& use, std::uint32_t uses);
  void touch();
  void write_on(const Transfer& arrived);
  void write_back_left();
  TierTransferId begin(Transfer transfer);
  Transfer end(std::uint32_t slot, bool arrived);
  std::uint32_t& flying(Kind kind) { return kind == Kind::read ? reads_ : writes_; }

  TiersOptions options_;
  FlatMap<Moved> device_;  ///< blocks in the device, by hash
  std::vector<Transfer> transfers_;
  std::vector<std::uint32_t> spare_;
  FlatMap<std::uint32_t> by_id_;
  FlatMap<std::uint32_t> loading_;     ///< transfers in flight of a request that loads
  std::vector<std::int64_t> reading_;  ///< blocks in flight from each level
  std::vector<TierTraffic> traffic_;
  std::vector<TierTransfer> started_;
  std::vector<std::vector<Moved>> left_;  ///< by level: evicted, not yet looked at
  std::vector<BlockUse> uses_;            ///< scratch: blocks of a prompt
  std::vector<Moved> moved_;              ///< scratch: blocks to write
  std::uint32_t next_id_ = 0;
  std::uint32_t reads_ = 0;
  std::uint32_t writes_ = 0;
};

}  // namespace dyn::kvbm
