#include "tiering.h"

#include <algorithm>
#include <array>

#include "dyn/core/error.h"
#include "dyn/core/random.h"
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

Tiering make_tiering(const SimulationSpec& spec, const Workload& workload, Fleet& fleet) {
  const Plan& plan = *spec.plan;
  Tiering tiering{
      engine::Network(resolve_network({}, plan.profile), RandomStream(spec.seed, "network").next()),
      std::vector<engine::DeployedTiers>(plan.pools.size()),
      std::vector<engine::SiteId>(fleet.engines.size()),
      {}};
  if (plan.kv_tiers.empty()) {
    return tiering;
  }
  check_plan(plan, workload);
  if (knows_future(plan.kv_tiers)) {
    tiering.next_uses = next_uses(workload);
  }
  for (std::size_t i = 0; i < plan.pools.size(); ++i) {
    const PoolSpec& pool = plan.pools[i];
    tiering.pools[i] = engine::DeployedTiers(plan, pool, *spec.timers[i]);
    for (std::uint32_t rank = 0; rank < fleet.pools[i].engines; ++rank) {
      const std::uint32_t index = fleet.pools[i].first_engine + rank;
      tiering.sites[index] = tiering.network.add_site(pool.layout.tensor * pool.layout.pipeline);
      engine::EngineOptions options{pool.config, pool.role, spec.stepping,
                                    fleet.pools[i].publishes_kv};
      options.tiering = tiering.pools[i].for_engine(tiering.network, tiering.sites[index]);
      const bool further = rank % fleet.pools[i].ranks_per_worker != 0;
      fleet.engines[index].engine = further ? fleet.engines[index - 1].engine.another_rank(options)
                                            : engine::Engine(options, spec.timers[i]);
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

std::vector<TierBytes> Tiering::traffic(const Fleet& fleet) const {
  std::array<std::optional<TierBytes>, 3> all;
  for (const EngineSlot& slot : fleet.engines) {
    const kvbm::Tiers* tiers = slot.engine.tiers();
    for (std::uint8_t level = 1; tiers != nullptr && level <= tiers->levels(); ++level) {
      const std::size_t kind = pools[slot.pool].kind(level);
      TierBytes& sum = all[kind] ? *all[kind] : all[kind].emplace(TierBytes{kind, {}, {}});
      sum.read += tiers->block_bytes() * tiers->traffic(level).blocks_read;
      sum.written += tiers->block_bytes() * tiers->traffic(level).blocks_written;
    }
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
void Run::start_tier_transfers(std::uint32_t engine) {
  if (outcome_.tier_transfers.empty()) {
    return;
  }
  const engine::DeployedTiers& tiers = tiering_.pools[fleet_.engines[engine].pool];
  const engine::SiteId site = tiering_.sites[engine];
  for (const kvbm::TierTransfer& transfer : outcome_.tier_transfers) {
    tiering_.network.start(tiers.endpoint(transfer.from, site), tiers.endpoint(transfer.to, site),
                           transfer.bytes, std::uint64_t{engine} << 32 | transfer.id.value(), now_);
  }
  network_moved();
}

/// An event for the next time that something arrives.
void Run::network_moved() {
  const SimTime next = tiering_.network.next_event().value_or(SimTime::max());
  if (next != network_due_) {
    network_due_ = next;
    ++network_epoch_;
    if (next != SimTime::max()) {
      queue_.push(std::max(next, now_), Phase::transfer, EventKind::network_due, 0, network_epoch_);
    }
  }
}

void Run::network_due() {
  network_due_ = SimTime::max();
  tiering_.network.advance(now_, arrived_);
  for (const engine::Network::Arrived& what : arrived_) {
    const auto engine = static_cast<std::uint32_t>(what.tag >> 32);
    fleet_.engines[engine].engine.transfer_done(
        kvbm::TierTransferId(static_cast<std::uint32_t>(what.tag)), now_);
    touch(engine);
  }
  arrived_.clear();
  network_moved();
}

}  // namespace dyn::sim
