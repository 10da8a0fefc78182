#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "dyn/kvbm/tier_index.h"
#include "dyn/policy/router.h"

namespace dyn::policy {

/// What a router knows of the tiers below its workers' devices, and what that is worth to it.
class LowerTiers {
 public:
  explicit LowerTiers(const RouterOptions& options);

  kvbm::TierIndex& index() { return index_; }
  const kvbm::TierIndex& index() const { return index_; }

  /// Looks for what follows the `device` leading blocks that each worker's device has.
  void look_up(const kvbm::PromptBlocks& blocks, std::span<const std::uint32_t> device);
  /// Of the last look-up: blocks found in each tier for a worker; 0 where there is no such tier.
  std::array<std::uint32_t, 3> found(std::uint32_t worker) const;

  /// The blocks found for a worker, each as much as its tier's credit. They are then counted on.
  double credit(std::uint32_t worker);
  /// The least of `seconds_with(0)` and, for each tier, what `seconds_with(blocks)` and loading the
  /// blocks of it and those before it, all at once, take together: the blocks of the least are
  /// then counted on. Of those found, a tier's credit is the share that is loaded.
  template <class SecondsWith>
  double least_seconds(std::uint32_t worker, SecondsWith seconds_with);
  /// Blocks of a worker that the last price of it counts on, in those of the device.
  double counted(std::uint32_t worker) const { return counted_[worker]; }

 private:
  std::uint32_t run(std::size_t tier, std::uint32_t worker) const {
    return runs_[tier * counted_.size() + worker];
  }

  std::vector<RouterTier> tiers_;
  kvbm::TierIndex index_;
  std::vector<std::uint32_t> runs_;  ///< by tier, then by worker
  std::vector<double> counted_;      ///< by worker
};

template <class SecondsWith>
double LowerTiers::least_seconds(std::uint32_t worker, SecondsWith seconds_with) {
  double least = seconds_with(0.0);
  double blocks = 0;
  Duration load{0};
  counted_[worker] = 0;
  for (std::size_t tier = 0; tier < tiers_.size(); ++tier) {
    const double more = tiers_[tier].credit * run(tier, worker);
    if (more <= 0) {
      continue;
    }
    blocks += more;
    load = std::max(load, tiers_[tier].load_time(more));
    const double seconds = to_seconds(load) + seconds_with(blocks);
    if (seconds < least) {
      least = seconds;
      counted_[worker] = blocks;
    }
  }
  return least;
}

}  // namespace dyn::policy
