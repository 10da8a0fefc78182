#include "dyn/kvbm/eviction.h"

#include "evictors.h"

namespace dyn::kvbm {

std::unique_ptr<Evictor> make_evictor(EvictionKind kind, std::uint64_t capacity,
                                      const RecomputeCost& cost) {
  DYN_ASSERT(capacity > 0, "a cache without room");
  switch (kind) {
    case EvictionKind::lru:
      return make_lru();
    case EvictionKind::s3_fifo:
      return make_s3_fifo(capacity);
    case EvictionKind::tiny_lfu:
      return make_tiny_lfu(capacity);
    case EvictionKind::cost_aware:
      return make_cost_aware(cost);
    case EvictionKind::belady:
      return make_belady();
  }
  return make_lru();
}

}  // namespace dyn::kvbm
