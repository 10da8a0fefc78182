#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <map>

#include "kvbm_naive_evictors.h"

namespace {

using namespace dyn;
using kvbm::BlockHash;
using kvbm::BlockUse;
using kvbm::Entry;
using kvbm::kNoEntry;

constexpr EvictionKind kKinds[] = {EvictionKind::lru, EvictionKind::s3_fifo, EvictionKind::tiny_lfu,
                                   EvictionKind::cost_aware, EvictionKind::belady};

/// A block of one of a few chains that begin alike.
BlockUse random_use() {
  const auto chain = *rc::gen::inRange<std::uint64_t>(0, 6);
  const auto position = *rc::gen::inRange<std::uint32_t>(0, 6);
  const auto hash = [&](std::uint32_t at) {
    return BlockHash{(at < 2 ? chain % 2 : chain) * 100 + at};
  };
  return {hash(position), position > 0 ? hash(position - 1) : BlockHash{}, position,
          *rc::gen::inRange<std::uint64_t>(0, 20)};
}

void compare(EvictionKind kind) {
  const auto capacity = *rc::gen::inRange<std::size_t>(1, 25);
  const kvbm::RecomputeCost cost{*rc::gen::inRange<std::uint64_t>(1, 5),
                                 *rc::gen::inRange<std::uint64_t>(0, 3)};
  const auto fast = kvbm::make_evictor(kind, capacity, cost);
  const auto naive = test::naive_evictor(kind, capacity, cost);
  std::map<BlockHash, Entry> inside;
  std::set<Entry> spare;
  std::set<Entry> pinned;
  for (Entry entry = 0; entry < capacity; ++entry) {
    spare.insert(entry);
  }
  const auto drop = [&](Entry entry) {
    std::erase_if(inside, [&](const auto& item) { return item.second == entry; });
    spare.insert(entry);
  };
  const int operations = *rc::gen::inRange(0, 200);
  for (int i = 0; i < operations; ++i) {
    const BlockUse use = random_use();
    const auto found = inside.find(use.hash);
    const int what = *rc::gen::inRange(0, 10);
    if (found == inside.end()) {
      if (inside.size() == capacity) {
        const Entry victim = fast->evict();
        RC_ASSERT(victim == naive->evict());
        if (victim == kNoEntry) {
          RC_ASSERT(pinned.size() == capacity || kind == EvictionKind::cost_aware);
          continue;
        }
        drop(victim);
      }
      const Entry entry = *spare.begin();
      spare.erase(entry);
      inside[use.hash] = entry;
      fast->insert(entry, use);
      naive->insert(entry, use);
    } else if (what < 6) {
      fast->hit(found->second, use);
      naive->hit(found->second, use);
    } else if (what < 8) {
      const Entry entry = found->second;
      const bool pin = !pinned.contains(entry);
      pin ? (void)pinned.insert(entry) : (void)pinned.erase(entry);
      fast->pin(entry, pin);
      naive->pin(entry, pin);
    } else if (!pinned.contains(found->second)) {
      const Entry entry = found->second;
      fast->remove(entry);
      naive->remove(entry);
      drop(entry);
    }
    fast->check_invariants();
    RC_ASSERT(fast->size() == inside.size());
  }
}

TEST_CASE("every evictor chooses the victims that lists and scans over all blocks do") {
  for (const EvictionKind kind : kKinds) {
    INFO("eviction " << static_cast<int>(kind));
    CHECK(rc::check([kind] { compare(kind); }));
  }
}

TEST_CASE("until it is halved, a frequency sketch never counts too few") {
  CHECK(rc::check([] {
    const auto capacity = *rc::gen::inRange<std::uint64_t>(1, 50);
    kvbm::FrequencySketch sketch(capacity);
    std::map<std::uint64_t, unsigned> exact;
    for (std::uint64_t i = 0; i + 1 < 10 * capacity; ++i) {
      const auto hash = *rc::gen::inRange<std::uint64_t>(0, 40);
      sketch.add(BlockHash{hash});
      ++exact[hash];
    }
    for (const auto& [hash, count] : exact) {
      RC_ASSERT(sketch.count(BlockHash{hash}) >= std::min(count, 15U));
    }
  }));
}

}  // namespace
