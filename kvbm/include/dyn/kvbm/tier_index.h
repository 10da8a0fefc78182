#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dyn/kvbm/prefix_index.h"

namespace dyn::kvbm {

/// Which blocks the tiers below the workers' devices have, as told by events: an index a tier. A
/// tier that all workers share is asked once for all of them. Bounded like PrefixIndex, whose
/// `max_segments` here are blocks of each tier. Deterministic. Not thread-safe.
class TierIndex {
 public:
  /// `shared`: by tier, from the device outwards, whether all workers have the same one.
  TierIndex(std::uint32_t workers, const std::vector<bool>& shared, std::uint64_t max_blocks);

  std::size_t tiers() const { return tiers_.size(); }
  bool shared(std::uint8_t tier) const { return tiers_[tier - 1].shared; }
  /// An event of a tier (KvEvent::tier 1 to tiers()); of a shared one it does not matter whose.
  void apply(WorkerId worker, const KvEvent& event);
  /// The worker and its own tiers are gone.
  void remove_worker(WorkerId worker);

  /// How a worker could go on with a prompt of which its device has the first `device[worker]`
  /// blocks: with the run of blocks from there on that its first tier has, then with the run from
  /// the end of that one that its second tier has, and so on. So each block counts once, for the
  /// uppermost of the tiers that can go on with it, and none counts that the device's prefix has.
  /// A worker's runs never go back to a tier nearer the device, as Dynamo's do not; what an engine
  /// can load (Tiers::lookup) does, and so may be longer where blocks of one prompt lie in turns.
  ///
  /// `runs[(tier - 1) * workers + worker]` has the lengths, and is overwritten. Costs a look-up a
  /// tier and block, from the shortest device prefix to the end of the longest run.
  void continue_runs(const PromptBlocks& blocks, std::span<const std::uint32_t> device,
                     std::span<std::uint32_t> runs);

  std::uint64_t bytes() const;  ///< memory in use
  /// Asserts that each index is in order; for tests.
  void check_invariants() const;

 private:
  struct Tier {
    PrefixIndex index;
    bool shared = false;
    std::vector<std::uint64_t> at{};  ///< scratch: workers whose runs are in it now
  };
  void enter(std::uint32_t block, std::span<const std::uint32_t> device);
  bool step(BlockHash hash, std::uint32_t block, std::span<std::uint32_t> runs);
  void end_runs(std::size_t tier, std::uint32_t word, std::uint64_t workers, std::uint32_t block,
                std::span<std::uint32_t> runs);

  std::uint32_t workers_;
  std::uint32_t words_;
  std::vector<Tier> tiers_;
  // Scratch of continue_runs.
  std::vector<std::uint32_t> order_;    ///< workers by where their device's prefix ends
  std::size_t entered_ = 0;             ///< how many of them have begun
  std::vector<std::uint32_t> since_;    ///< by worker: where its run began
  std::vector<std::uint64_t> falling_;  ///< workers whose runs in the tiers above have ended
};

}  // namespace dyn::kvbm
