#include "dyn/engine/deployed_tiers.h"

#include <algorithm>
#include <array>

#include "dyn/core/check.h"
#include "dyn/core/error.h"
#include "dyn/engine/engine.h"
#include "dyn/perf/sent_kv.h"
#include "dyn/policy/load_choice.h"

namespace dyn::engine {
namespace {

constexpr std::array<std::string_view, 3> kKinds = {"host", "disk", "object"};
constexpr std::array<Place, 3> kPlaces = {Place::host, Place::disk, Place::store};
/// A transfer that is long enough to tell a path's bandwidth.
constexpr Bytes kProbe{std::int64_t{1} << 30};

std::size_t kind_of(std::string_view name) {
  return static_cast<std::size_t>(std::find(kKinds.begin(), kKinds.end(), name) - kKinds.begin());
}

[[noreturn]] void refuse(std::string_view name, const std::string& why, const char* hint) {
  throw Error(ErrorKind::bad_input, "kv_tiers." + std::string(name) + ": " + why, hint);
}

}  // namespace

DeployedTiers::DeployedTiers(const Plan& plan, const PoolSpec& pool, const perf::StepTimer& timer)
    : prefetch_(plan.kv_tiers.prefetch),
      max_transfers_(static_cast<std::uint32_t>(plan.kv_tiers.max_transfers)) {
  if (pool.role == WorkerRole::decode || !pool.config.prefix_caching || plan.kv_tiers.empty()) {
    return;
  }
  block_bytes_ = perf::stored_per_token(plan.model, plan.kv_cache, keeps_windows(plan, pool)) *
                 pool.config.block_size;
  cost_ = policy::recompute_cost(timer, pool.config.block_size);
  const GpuSpec& device = plan.profile.device;
  for (const KvTiers::Named& named : plan.kv_tiers.levels()) {
    const KvTier& tier = *named.tier;
    const bool shared = tier.scope == TierScope::shared;
    const Bytes whole = shared ? tier.capacity : tier.capacity * std::int64_t{pool.replicas};
    if (named.name == kKinds[0] && device.vendor == "cpu" && whole > device.memory) {
      refuse(named.name,
             "asks for " + std::to_string(whole.count()) + " bytes, but the machine has " +
                 std::to_string(device.memory.count()),
             "give it less capacity");
    }
    const std::int64_t ranks = shared ? 1 : pool.layout.data;
    const std::int64_t blocks = tier.capacity.count() / ranks / block_bytes_.count();
    if (blocks < 1) {
      refuse(named.name,
             "a capacity of " + std::to_string(tier.capacity.count()) +
                 " bytes has no room for a KV block of " + std::to_string(block_bytes_.count()),
             "give it more capacity");
    }
    Level level{tier, kind_of(named.name), static_cast<std::uint64_t>(blocks), nullptr};
    if (shared) {
      level.shared = std::make_shared<kvbm::TierStore>(level.blocks, tier.eviction, cost_);
    }
    levels_.push_back(std::move(level));
  }
}

bool DeployedTiers::shares() const {
  return std::any_of(levels_.begin(), levels_.end(),
                     [](const Level& level) { return level.shared != nullptr; });
}

void DeployedTiers::tell_routers() {
  told_ = true;
  for (std::uint8_t i = 1; i <= levels(); ++i) {
    if (levels_[i - 1].shared != nullptr) {
      levels_[i - 1].shared->record_events(i);
    }
  }
}

std::vector<policy::RouterTier> DeployedTiers::for_router(
    const RouterConfig& router, const policy::TieringOptions& engine) const {
  std::vector<policy::RouterTier> out;
  for (std::size_t i = 0; told_ && i < levels_.size(); ++i) {
    const kvbm::TierLevel& level = engine.tiers.levels[i];
    out.push_back({router.tier_credits()[levels_[i].kind], levels_[i].shared != nullptr,
                   block_bytes_, level.read_bandwidth, level.latency});
  }
  return out;
}

void DeployedTiers::take_shared_events(std::vector<kvbm::KvEvent>& events) const {
  for (const Level& level : levels_) {
    if (level.shared != nullptr) {
      level.shared->take_events(events);
    }
  }
}

policy::TieringOptions DeployedTiers::for_engine(const Network& network, SiteId site) const {
  policy::TieringOptions options;
  options.prefetch = prefetch_;
  options.tiers.block_bytes = block_bytes_;
  options.tiers.max_transfers = max_transfers_;
  for (std::uint8_t i = 1; i <= levels(); ++i) {
    const Level& from = levels_[i - 1];
    const Duration latency = network.alone(endpoint(i, site), endpoint(0, site), Bytes(0));
    const Duration probe = network.alone(endpoint(i, site), endpoint(0, site), kProbe) - latency;
    kvbm::TierLevel level;
    level.store = from.shared != nullptr
                      ? from.shared
                      : std::make_shared<kvbm::TierStore>(from.blocks, from.tier.eviction, cost_);
    level.tells = told_ && from.shared == nullptr;
    if (level.tells) {
      level.store->record_events(i);
    }
    level.write = from.tier.write;
    level.after_uses = static_cast<std::uint32_t>(from.tier.after_uses);
    level.latency = latency;
    level.read_bandwidth = BytesPerSec(
        probe > Duration{0} ? static_cast<double>(kProbe.count()) / to_seconds(probe) : 0);
    options.tiers.levels.push_back(std::move(level));
  }
  return options;
}

Endpoint DeployedTiers::endpoint(std::uint8_t level, SiteId site) const {
  return {level == 0 ? Place::gpus : kPlaces[kind(level)], site};
}

void DeployedTiers::check_at_rest() const {
  for (const Level& level : levels_) {
    if (level.shared != nullptr) {
      level.shared->check_invariants();
      DYN_ASSERT(level.shared->pins() == 0, "a shared tier keeps a pin");
    }
  }
}

}  // namespace dyn::engine
