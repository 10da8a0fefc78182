#include "dyn/kvbm/tier_index.h"

#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <set>

#include "dyn/kvbm/tier_store.h"

namespace {

using namespace dyn;
using namespace dyn::kvbm;

constexpr auto kStored = KvEvent::Kind::stored;
constexpr auto kRemoved = KvEvent::Kind::removed;

std::vector<BlockHash> prompt(std::uint64_t count) {
  std::vector<BlockHash> result;
  for (std::uint64_t i = 0; i < count; ++i) {
    result.push_back(BlockHash{i + 1});
  }
  return result;
}

/// Tells of the blocks `first` to `last` of prompt().
void tell(TierIndex& index, std::uint32_t worker, std::uint8_t tier, KvEvent::Kind kind,
          std::uint64_t first, std::uint64_t last) {
  for (std::uint64_t hash = first; hash <= last; ++hash) {
    index.apply(WorkerId(worker), {kind, BlockHash{hash}, 0, 1, tier});
  }
}

std::vector<std::uint32_t> runs(TierIndex& index, const std::vector<BlockHash>& blocks,
                                const std::vector<std::uint32_t>& device) {
  std::vector<std::uint32_t> result(device.size() * index.tiers(), 99);
  index.continue_runs(PromptBlocks(blocks), device, result);
  return result;
}

using Runs = std::vector<std::uint32_t>;

TEST_CASE("a tier goes on where the one above it ends, and nothing counts twice") {
  TierIndex index(1, {false, false}, 100);
  const auto blocks = prompt(10);
  tell(index, 0, 1, kStored, 1, 5);
  tell(index, 0, 2, kStored, 1, 8);
  CHECK(runs(index, blocks, {0}) == Runs{5, 3});
  CHECK(runs(index, blocks, {2}) == Runs{3, 3});  // the device has what they have too
  CHECK(runs(index, blocks, {6}) == Runs{0, 2});
  CHECK(runs(index, blocks, {8}) == Runs{0, 0});
  CHECK(runs(index, blocks, {10}) == Runs{0, 0});
}

TEST_CASE("a run that has gone to a lower tier does not come back to an upper one") {
  TierIndex index(1, {false, false}, 100);
  tell(index, 0, 1, kStored, 1, 2);
  tell(index, 0, 1, kStored, 5, 6);
  tell(index, 0, 2, kStored, 3, 4);
  CHECK(runs(index, prompt(8), {0}) == Runs{2, 2});
}

TEST_CASE("workers that share a tier have the same of it, each behind its own device's prefix") {
  TierIndex index(3, {false, true}, 100);
  tell(index, 1, 1, kStored, 1, 4);
  tell(index, 2, 2, kStored, 1, 6);  // whoever put it there
  CHECK(runs(index, prompt(8), {0, 1, 3}) == Runs{0, 3, 0, 6, 2, 3});
  index.remove_worker(WorkerId(1));
  index.remove_worker(WorkerId(2));
  CHECK(runs(index, prompt(8), {0, 1, 3}) == Runs{0, 0, 0, 6, 5, 3});
  tell(index, 0, 2, kRemoved, 4, 4);
  CHECK(runs(index, prompt(8), {0, 1, 3}) == Runs{0, 0, 0, 3, 2, 0});
}

TEST_CASE("the tiers of a store's events are those it was told, once a block can be read") {
  TierStore store(2, EvictionKind::lru);
  std::vector<TierStore::Left> left;
  store.fill(store.reserve({BlockHash{1}, {}, 0, BlockUse::kNever}, 1, left));
  CHECK(store.events().empty());  // nobody asked
  store.record_events(3);
  const Entry filled = store.reserve({BlockHash{2}, {}, 0, BlockUse::kNever}, 1, left);
  CHECK(store.events().empty());
  store.fill(filled);
  const Entry given_up = store.reserve({BlockHash{3}, {}, 0, BlockUse::kNever}, 1, left);
  store.abandon(given_up);
  REQUIRE(store.events().size() == 2);
  CHECK(store.events()[0].kind == kStored);
  CHECK(store.events()[0].hash == BlockHash{2});
  CHECK(store.events()[1].kind == kRemoved);
  CHECK(store.events()[1].hash == BlockHash{1});
  CHECK(store.events()[1].tier == 3);
}

TEST_CASE("runs of any workers, tiers and segments are those that looking block by block finds") {
  REQUIRE(rc::check([] {
    std::vector<PromptSegment> segments;
    while (segments.empty() || segments.back().end < 12) {
      const std::uint32_t end = segments.empty() ? 0 : segments.back().end;
      segments.push_back({BlockHash{segments.size()}, end + *rc::gen::inRange(1U, 6U)});
    }
    const PromptBlocks blocks(segments, 1, *rc::gen::inRange(0U, 13U));
    const std::uint32_t workers = *rc::gen::element(1U, 3U, 64U, 65U, 130U);
    const auto tiers = *rc::gen::inRange<std::size_t>(1, 4);
    std::vector<bool> shared;
    for (std::size_t tier = 0; tier < tiers; ++tier) {
      shared.push_back(*rc::gen::inRange(0, 3) == 0);
    }
    TierIndex index(workers, shared, 1000);
    // By tier and worker, worker 0 where it is shared.
    std::vector<std::vector<std::set<BlockHash>>> has(tiers,
                                                      std::vector<std::set<BlockHash>>(workers));
    const int operations = *rc::gen::inRange(0, 300);
    for (int i = 0; i < operations && !blocks.empty(); ++i) {
      const std::uint32_t worker = *rc::gen::inRange<std::uint32_t>(0, std::min(workers, 70U));
      const auto tier = *rc::gen::inRange<std::size_t>(0, tiers);
      const BlockHash hash = blocks[*rc::gen::inRange(0U, blocks.size())];
      const bool stored = *rc::gen::inRange(0, 4) > 0;
      index.apply(WorkerId(worker),
                  {stored ? kStored : kRemoved, hash, 0, 1, static_cast<std::uint8_t>(tier + 1)});
      std::set<BlockHash>& set = has[tier][shared[tier] ? 0 : worker];
      stored ? static_cast<void>(set.insert(hash)) : static_cast<void>(set.erase(hash));
    }
    index.check_invariants();
    std::vector<std::uint32_t> device;
    for (std::uint32_t w = 0; w < workers; ++w) {
      device.push_back(*rc::gen::inRange(0U, blocks.size() + 1));
    }
    std::vector<std::uint32_t> found(workers * tiers, 99);
    index.continue_runs(blocks, device, found);
    for (std::uint32_t w = 0; w < workers; ++w) {
      std::uint32_t at = device[w];
      for (std::size_t tier = 0; tier < tiers; ++tier) {
        const std::uint32_t begin = at;
        while (at < blocks.size() && has[tier][shared[tier] ? 0 : w].contains(blocks[at])) {
          ++at;
        }
        RC_ASSERT(found[tier * workers + w] == at - begin);
      }
    }
  }));
}

}  // namespace
