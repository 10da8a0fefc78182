#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "dyn/core/plan.h"
#include "dyn/engine/network.h"
#include "dyn/perf/step_timer.h"
#include "dyn/policy/router_tier.h"
#include "dyn/policy/scheduler.h"

namespace dyn::engine {

/// The tiers that a plan gives to the engines of one pool, and the stores that they share.
class DeployedTiers {
 public:
  DeployedTiers() = default;  ///< none
  /// A pool whose KV comes from another one (decode) has no tiers. `timer` says what blocks cost to
  /// compute again. Throws Error(bad_input) for a tier that has no room for a block, or that is
  /// larger than the memory of the machine where that is known (a CPU).
  DeployedTiers(const Plan& plan, const PoolSpec& pool, const perf::StepTimer& timer);

  bool empty() const { return levels_.empty(); }
  bool shares() const;  ///< whether engines share a store
  /// Has stores tell what comes and goes, for routers; to be called before there are engines.
  void tell_routers();
  /// What routers weigh, if tell_routers() was called; `engine`: what one of the pool got.
  std::vector<policy::RouterTier> for_router(const RouterConfig& router,
                                             const policy::TieringOptions& engine) const;
  /// Moves what shared stores have to tell to the end of `events`. What other stores have to tell
  /// their engines do.
  void take_shared_events(std::vector<kvbm::KvEvent>& events) const;
  /// For a new engine, whose GPUs are at `site`: its own stores, empty, and the shared ones.
  policy::TieringOptions for_engine(const Network& network, SiteId site) const;
  /// Where a level (0: the device) is, as seen from an engine.
  Endpoint endpoint(std::uint8_t level, SiteId site) const;
  /// The n-th level's index among host, disk and object store.
  std::size_t kind(std::uint8_t level) const { return levels_[level - 1].kind; }
  std::uint8_t levels() const { return static_cast<std::uint8_t>(levels_.size()); }
  /// Asserts that nothing is pinned in a shared store, and that each is in order.
  void check_at_rest() const;

 private:
  struct Level {
    KvTier tier;
    std::size_t kind = 0;
    std::uint64_t blocks = 0;
    std::shared_ptr<kvbm::TierStore> shared;  ///< null: each engine has its own
  };

  std::vector<Level> levels_;
  Bytes block_bytes_{0};
  kvbm::RecomputeCost cost_;
  bool prefetch_ = false;
  bool told_ = false;  ///< to routers
  std::uint32_t max_transfers_ = 0;
};

}  // namespace dyn::engine
