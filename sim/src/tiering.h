#pragma once

#include <cstdint>
#include <vector>

#include "dyn/engine/deployed_tiers.h"
#include "dyn/engine/network.h"
#include "dyn/sim/simulation.h"
#include "fleet.h"

namespace dyn::sim {

/// The tiers below the devices of a fleet, and the network that their transfers take.
struct Tiering {
  engine::Network network;
  std::vector<engine::DeployedTiers> pools;
  std::vector<engine::SiteId> sites;  ///< of each engine's GPUs
  /// For each of Workload::blocks the number of the next request with it; empty unless a tier
  /// evicts by it.
  std::vector<std::uint64_t> next_uses;

  /// What is known of the future of a request's blocks.
  kvbm::NextUses future(const Workload& workload, std::uint32_t request, int block_size) const;
  /// Bytes moved by all engines, by tier.
  std::vector<TierBytes> traffic(const Fleet& fleet) const;
};

/// Places the engines in the network, and gives tiers to those of pools that have them. Throws
/// Error(bad_input) for tiers that cannot be.
Tiering make_tiering(const SimulationSpec& spec, const Workload& workload, Fleet& fleet);

}  // namespace dyn::sim
