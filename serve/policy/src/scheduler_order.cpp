// The order in which SGLang computes waiting prompts: SchedulePolicy in
// python/sglang/srt/managers/schedule_policy.py (0.5.6).
#include <algorithm>

#include "dyn/kvbm/flat_map.h"
#include "scheduler_impl.h"

namespace dyn::policy {

namespace {

/// So many may wait for their prefixes to be looked up.
constexpr std::int32_t kMostLookedUp = 128;
/// Of prompts with no more tokens in the cache that begin with so many alike, one goes first
/// (IN_BATCH_PREFIX_CACHING_CHECK_THRESHOLD and _DEPRIORITIZE_THRESHOLD).
constexpr std::int64_t kAlike = 32;

}  // namespace

/// Puts the queue in order of how much of each request is cached, most first; behind all others
/// those with next to nothing in the cache who begin as one before them does, for they will find
/// there what it computes. Equals keep their order.
void Scheduler::Impl::order_waiting() {
  if (waiting.size > kMostLookedUp) {
    return;
  }
  struct Place {
    std::int64_t cached;  ///< blocks; -1: behind all others
    Slot slot;
  };
  std::vector<Place> places;
  kvbm::FlatMap<bool> begun;
  const auto alike = static_cast<std::uint32_t>(blocks_for(kAlike));
  for (Slot slot = waiting.head; slot != kNoSlot; slot = requests[slot].next) {
    const kvbm::PromptBlocks& blocks = requests[slot].spec.blocks;
    const std::int64_t cached = context().match(blocks, blocks.size(), found).blocks;
    const bool first = cached * block_size > kAlike || blocks.size() < alike ||
                       begun.insert(static_cast<std::uint64_t>(blocks[alike - 1]), true).second;
    places.push_back({first ? cached : -1, slot});
  }
  const auto before = [](const Place& a, const Place& b) { return a.cached > b.cached; };
  if (std::is_sorted(places.begin(), places.end(), before)) {
    return;
  }
  std::stable_sort(places.begin(), places.end(), before);
  waiting = {};
  for (const Place& place : places) {
    waiting.push_back(requests, place.slot);
  }
}

}  // namespace dyn::policy
