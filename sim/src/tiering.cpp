#include "tiering.h"

#include <algorithm>
#include <array>

#include "dyn/core/error.h"
#include "dyn/kvbm/flat_map.h"
#include "run.h"

namespace dyn::sim {
namespace {

std::vector<std::uint64_t> next_uses(const Workload& workload) {
  std::vector<std::uint64_t> next(workload.blocks.size(), kvbm::BlockUse::kNever);
  kvbm::FlatMap<std::uint64_t> following;
  for (std::size_t number = workload.requests.size(); number-- > 0;) {
    const WorkloadRequest& request = workload.requests[number];
    for (std::uint32_t b = 0; b < request.block_count; ++b) {
      const std::size_t at = request.first_block + b;
      const auto [known, fresh] =
          following.insert(static_cast<std::uint64_t>(workload.blocks[at]), number);
      next[at] = fresh ? kvbm::BlockUse::kNever : *known;
      *known = number;
    }
  }
  return next;
}

/// Adds what an engine has moved.
void add_traffic(const engine::DeployedTiers& deployed, const engine::Engine& engine,
                 Tiering::Sums& sums) {
  const kvbm::Tiers* tiers = engine.tiers();
  for (std::uint8_t level = 1; tiers != nullptr && level <= tiers->levels(); ++level) {
    const std::size_t kind = deployed.kind(level);
    TierBytes& sum = sums[kind] ? *sums[kind] : sums[kind].emplace(TierBytes{kind, {}, {}});
    sum.read += tiers->block_bytes() * tiers->traffic(level).blocks_read;
    sum.written += tiers->block_bytes() * tiers->traffic(level).blocks_written;
  }
}

/// Has the tiers of a pool tell its routers what they have. What is lost of that is drawn for each
/// tier apart, since engines are read at other times where they are stepped otherwise.
void tell_routers(const SimulationSpec& spec, Pool& pool, Fleet& fleet,
                  const engine::DeployedTiers& tiers) {
  const RouterConfig& router = spec.plan->router;
  pool.router_options.tiers = tiers.for_router(router, fleet.engines[pool.first_engine].tiering);
  make_routers(pool, router.replicas);
  for (std::uint32_t rank = 0; rank < pool.engines && router.event_loss > 0; ++rank) {
    const std::uint32_t engine = pool.first_engine + rank;
    for (int tier = 1; tier <= tiers.levels(); ++tier) {
      fleet.engines[engine].losses.emplace_back(
          spec.seed, "lost_events/" + std::to_string(engine) + "/" + std::to_string(tier));
    }
  }
}

bool knows_future(const KvTiers& tiers) {
  const std::vector<KvTiers::Named> levels = tiers.levels();
  return std::any_of(levels.begin(), levels.end(), [](const KvTiers::Named& level) {
    return level.tier->eviction == EvictionKind::belady;
  });
}

void check_plan(const Plan& plan, const Workload& workload) {
  for (const PoolSpec& pool : plan.pools) {
    if (const std::optional<TierProblem> problem = problem_of(
            plan.kv_tiers, pool.config, workload.concurrency == 0 && workload.follow_ups.empty())) {
      throw Error(ErrorKind::bad_input, "kv_tiers: " + problem->message, problem->hint);
    }
  }
}

}  // namespace

Tiering make_tiering(const SimulationSpec& spec, const Workload& workload, Fleet& fleet,
                     const engine::Network& network) {
  const Plan& plan = *spec.plan;
  Tiering tiering;
  tiering.pools.resize(plan.pools.size());
  if (plan.kv_tiers.empty()) {
    return tiering;
  }
  check_plan(plan, workload);
  if (knows_future(plan.kv_tiers)) {
    tiering.next_uses = next_uses(workload);
  }
  for (std::size_t i = 0; i < plan.pools.size(); ++i) {
    tiering.pools[i] = engine::DeployedTiers(plan, plan.pools[i], *spec.timers[i]);
    const bool told = fleet.pools[i].publishes_kv && plan.router.looks_below_devices() &&
                      !tiering.pools[i].empty();
    if (told) {
      tiering.pools[i].tell_routers();
    }
    for (std::uint32_t rank = 0; rank < fleet.pools[i].engines; ++rank) {
      const std::uint32_t index = fleet.pools[i].first_engine + rank;
      EngineSlot& slot = fleet.engines[index];
      slot.tiering = tiering.pools[i].for_engine(network, slot.site);
      slot.engine = make_engine(fleet, index);
    }
    if (told) {
      tell_routers(spec, fleet.pools[i], fleet, tiering.pools[i]);
    }
  }
  return tiering;
}

kvbm::NextUses Tiering::future(const Workload& workload, std::uint32_t request,
                               int block_size) const {
  if (next_uses.empty()) {
    return {};
  }
  const WorkloadRequest& from = workload.requests[request];
  return {std::span(next_uses).subspan(from.first_block, from.block_count),
          static_cast<std::uint32_t>(workload.block_tokens / block_size)};
}

void Tiering::renew(EngineSlot& slot, const engine::Network& network) {
  if (!pools[slot.pool].empty()) {
    add_traffic(pools[slot.pool], slot.engine, past);
    slot.tiering = pools[slot.pool].for_engine(network, slot.site);
  }
}

std::vector<TierBytes> Tiering::traffic(const Fleet& fleet) const {
  Sums all = past;
  for (const EngineSlot& slot : fleet.engines) {
    add_traffic(pools[slot.pool], slot.engine, all);
  }
  std::vector<TierBytes> out;
  for (const std::optional<TierBytes>& tier : all) {
    if (tier) {
      out.push_back(*tier);
    }
  }
  return out;
}

/// Sends what the engine wants moved between its tiers on its way.
void Run::start_tier_transfers(std::uint32_t engine, const engine::Outcome& outcome) {
  if (outcome.tier_transfers.empty()) {
    return;
  }
  const EngineSlot& slot = fleet_.engines[engine];
  const engine::DeployedTiers& tiers = tiering_.pools[slot.pool];
  for (const kvbm::TierTransfer& transfer : outcome.tier_transfers) {
    const std::uint64_t tag = kTierTag | std::uint64_t{slot.incarnation & 0xfffU} << 48 |
                              std::uint64_t{engine} << 32 | transfer.id.value();
    network_.start(tiers.endpoint(transfer.from, slot.site), tiers.endpoint(transfer.to, slot.site),
                   transfer.bytes, tag, now_);
  }
  network_moved();
  tell_shared_tiers(slot.pool);
}

/// What tiers that workers share have to tell sets out for the routers, in the order in which it
/// happened there: as from the pool's first worker, whoever made it happen.
void Run::tell_shared_tiers(std::uint32_t pool) {
  tiering_.pools[pool].take_shared_events(shared_events_);
  for (const kvbm::KvEvent& event : shared_events_) {
    tell_cache(fleet_.pools[pool], fleet_.pools[pool].first_engine, event);
  }
  shared_events_.clear();
}

/// What an engine moved between its tiers is there; of one that is gone it is of no use.
void Run::tier_transfer_done(std::uint64_t tag) {
  const auto engine = static_cast<std::uint32_t>(tag >> 32 & 0xffff);
  EngineSlot& slot = fleet_.engines[engine];
  if ((tag >> 48 & 0xfff) == (slot.incarnation & 0xfffU)) {
    slot.engine.transfer_done(kvbm::TierTransferId(static_cast<std::uint32_t>(tag)), now_);
    touch(engine);
    tell_shared_tiers(slot.pool);
  }
}

}  // namespace dyn::sim
