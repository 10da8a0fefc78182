#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dyn/core/engine_config.h"
#include "dyn/core/quantity.h"

namespace dyn {

enum class TierScope {
  worker,  ///< every worker has its own
  shared,  ///< one for all workers of the entry pool
};

enum class TierWrite {
  through,  ///< a block is written when it has come to the tier above
  back,     ///< a block is written when the tier above evicts it
};

/// One tier of KV blocks below the device's memory.
struct KvTier {
  Bytes capacity{0};  ///< of one worker's, or of the shared one
  TierScope scope = TierScope::worker;
  TierWrite write = TierWrite::through;
  int after_uses = 1;  ///< only blocks that were used so often are written
  EvictionKind eviction = EvictionKind::lru;
  bool operator==(const KvTier&) const = default;
};

/// The tiers of KV blocks below the device (G1), each a fallback of the one above: host memory
/// (G2), a local SSD (G3), an object store (G4). What is absent does not exist. How fast they are
/// is the network's business (NetworkSpec).
struct KvTiers {
  std::optional<KvTier> host;
  std::optional<KvTier> disk;
  std::optional<KvTier> object;
  bool prefetch = false;   ///< a queued request's blocks are fetched from disk and object store
  int max_transfers = 32;  ///< in flight, of each engine and direction
  bool operator==(const KvTiers&) const = default;

  struct Named {
    std::string_view name;  ///< host, disk or object
    const KvTier* tier = nullptr;
  };
  /// Those that exist, from the device outwards.
  std::vector<Named> levels() const;
  bool empty() const { return !host && !disk && !object; }
};

/// What speaks against tiers with an engine and a load, in words.
struct TierProblem {
  std::string message;
  std::string hint;
};
std::optional<TierProblem> problem_of(const KvTiers& tiers, const EngineConfig& engine,
                                      bool open_loop);

}  // namespace dyn
