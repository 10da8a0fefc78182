#pragma once

#include <cstdint>
#include <vector>

#include "dyn/core/quantity.h"
#include "dyn/kvbm/block_hash.h"
#include "dyn/kvbm/flat_map.h"

namespace dyn::policy {

/// What an engine that publishes no cache events probably holds: the blocks of the prompts that
/// went there, segment by segment, the least recently used forgotten beyond `capacity`, and all
/// that were not used for `ttl`. So a router still sends prompts to where their beginning has been.
/// Deterministic; memory is bounded by the capacity. Not thread-safe.
class CacheGuess {
 public:
  explicit CacheGuess(std::size_t capacity, Duration ttl = Duration::max());

  /// A prompt goes there; appends what changed, as an engine would publish it.
  void computed(const kvbm::PromptBlocks& blocks, SimTime now, std::vector<kvbm::KvEvent>& events);
  /// Forgets what is older than the time to live by `now`, and appends it as removed.
  void expire(SimTime now, std::vector<kvbm::KvEvent>& events);
  /// The engine is gone, and its cache with it.
  void clear();
  std::size_t size() const { return size_; }  ///< blocks

 private:
  static constexpr std::uint32_t kNone = static_cast<std::uint32_t>(-1);
  struct Entry {
    kvbm::BlockHash segment{};
    std::uint32_t blocks = 0;  ///< from its first on
    SimTime used{};
    std::uint32_t newer = kNone;
    std::uint32_t older = kNone;
  };
  void unlink(std::uint32_t entry);
  void push_newest(std::uint32_t entry);
  void use(const kvbm::BlockRange& range, SimTime now);
  void forget_oldest(std::vector<kvbm::KvEvent>& events);

  std::size_t capacity_;
  std::size_t size_ = 0;
  Duration ttl_;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> spare_;
  kvbm::FlatMap<std::uint32_t> where_;
  std::vector<kvbm::BlockRange> ranges_;  ///< scratch
  std::uint32_t newest_ = kNone;
  std::uint32_t oldest_ = kNone;
};

}  // namespace dyn::policy
