#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "dyn/engine/deployed_tiers.h"
#include "dyn/engine/network.h"
#include "dyn/sim/simulation.h"
#include "fleet.h"

namespace dyn::sim {

/// The tiers below the devices of a fleet.
struct Tiering {
  /// By kind of tier; none where no engine has one.
  using Sums = std::array<std::optional<TierBytes>, 3>;

  std::vector<engine::DeployedTiers> pools;
  /// For each of Workload::blocks the number of the next request with it; empty unless a tier
  /// evicts by it.
  std::vector<std::uint64_t> next_uses;
  Sums past;  ///< of engines that are gone

  /// What is known of the future of a request's blocks.
  kvbm::NextUses future(const Workload& workload, std::uint32_t request, int block_size) const;
  /// Gives a slot whose engine is gone empty stores of its own, and keeps what it had moved.
  void renew(EngineSlot& slot, const engine::Network& network);
  /// Bytes moved by all engines, by tier.
  std::vector<TierBytes> traffic(const Fleet& fleet) const;
};

/// Gives tiers to the engines of pools that have them. Throws Error(bad_input) for tiers that
/// cannot be.
Tiering make_tiering(const SimulationSpec& spec, const Workload& workload, Fleet& fleet,
                     const engine::Network& network);

}  // namespace dyn::sim
