#pragma once

#include <cstdint>
#include <vector>

#include "dyn/core/lora.h"
#include "dyn/core/quantity.h"
#include "dyn/kvbm/flat_map.h"

namespace dyn::policy {

/// A LoRA adapter, numbered from 1; kNoAdapter: the model as it is.
using AdapterNumber = std::uint32_t;
inline constexpr AdapterNumber kNoAdapter = 0;

/// Which LoRA adapters one engine has where: in the device those in use and, in the slots that are
/// left, those last used; in host memory the same beyond that. That is what vLLM's two LRU caches
/// hold (LRUCacheLoRAModelManager: every adapter of a step is touched in both at each step), but
/// that there the order within a step may push out an adapter that the same step needs.
///
/// Asserts that what leaves has joined. Pure; not thread-safe.
class AdapterSlots {
 public:
  explicit AdapterSlots(const LoraConfig& config);

  enum class Place : std::uint8_t { device, host, storage };
  /// Whether a request of this adapter may be in a step with those in use: as in vLLM's V1
  /// scheduler, unless it would be one adapter more than there are slots.
  bool may_join(AdapterNumber adapter) const {
    return adapter == kNoAdapter || used_.size() < slots_ || used_.find(adapter) != nullptr;
  }
  /// A request of this adapter begins to use it; says where it was found. Where more are in use
  /// than there are slots (a router may book so) all of them count as being in the device.
  Place join(AdapterNumber adapter);
  /// A request of this adapter stops using it.
  void leave(AdapterNumber adapter);
  /// Forgets those not in use.
  void forget_idle() { idle_.clear(); }

  /// What speaks against sending a request of this adapter here: 0 where it is in the device, 0.2
  /// where there is a slot for it, 0.4 where it waits for one beside others, 1 where it would be
  /// one too many. One minus the scores of the LoRA affinity scorer of Kubernetes' Gateway API
  /// inference extension, which llm-d uses.
  double distance(AdapterNumber adapter) const;
  std::size_t in_use() const { return used_.size(); }
  std::size_t slots() const { return slots_; }
  /// Requests that use the adapter.
  std::int64_t users(AdapterNumber adapter) const;

 private:
  std::size_t idle_in_device() const { return used_.size() < slots_ ? slots_ - used_.size() : 0; }
  void trim();

  std::size_t slots_;
  std::size_t host_slots_;
  kvbm::FlatMap<std::int64_t> used_;  ///< adapter -> requests
  std::vector<AdapterNumber> idle_;   ///< last used first
};

/// How long a step stalls for one adapter that is loaded.
struct AdapterLoadTimes {
  Duration from_host{0};
  Duration from_storage{0};  ///< the way from host memory to the device included
};

/// What became of requests with an adapter, each time that they entered a batch.
struct AdapterUse {
  std::int64_t uses = 0;
  std::int64_t host_loads = 0;     ///< of these, the adapter was in host memory
  std::int64_t storage_loads = 0;  ///< or neither there nor in the device
  Duration load_time{0};           ///< by which steps were longer
  AdapterUse& operator+=(const AdapterUse& other);
};

}  // namespace dyn::policy
