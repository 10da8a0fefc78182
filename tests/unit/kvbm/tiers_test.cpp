#include "dyn/kvbm/tiers.h"

#include <catch2/catch.hpp>

namespace {

using namespace dyn;
using kvbm::BlockHash;
using kvbm::BlockUse;
using kvbm::PromptBlocks;
using kvbm::PromptUse;
using kvbm::TierLevel;
using kvbm::Tiers;
using kvbm::TierStore;

std::vector<BlockHash> chain(std::uint64_t first, std::size_t count) {
  std::vector<BlockHash> hashes;
  for (std::size_t i = 0; i < count; ++i) {
    hashes.push_back(BlockHash{first + i});
  }
  return hashes;
}

TierLevel level(std::uint64_t capacity, TierWrite write = TierWrite::through,
                std::uint32_t after_uses = 1) {
  return {std::make_shared<TierStore>(capacity, EvictionKind::lru), write, after_uses,
          BytesPerSec(1e9), Duration(500)};
}

struct Bench {
  explicit Bench(std::vector<TierLevel> levels, std::uint32_t max_transfers = 8)
      : tiers({levels, Bytes(1000), max_transfers}) {
    for (const TierLevel& at : levels) {
      stores.push_back(at.store);
    }
  }

  PromptUse prompt(const std::vector<BlockHash>& hashes) const {
    return {PromptBlocks(hashes), {}};
  }
  /// All of the prompt is computed, and its request finishes.
  void compute(const std::vector<BlockHash>& hashes) {
    tiers.stored(prompt(hashes), 0, static_cast<std::uint32_t>(hashes.size()));
  }
  void evict(const std::vector<BlockHash>& hashes) { tiers.evicted(hashes); }
  /// Ends every transfer in flight and those that follow; returns how many.
  std::size_t finish_all() {
    std::size_t count = 0;
    for (; count < tiers.started().size(); ++count) {
      tiers.finish(tiers.started()[count].id);
    }
    tiers.started().clear();
    tiers.check_invariants();
    return count;
  }
  std::vector<Tiers::Run> lookup(const std::vector<BlockHash>& hashes, std::uint32_t begin = 0) {
    std::vector<Tiers::Run> runs;
    tiers.lookup(PromptBlocks(hashes), begin, static_cast<std::uint32_t>(hashes.size()), runs);
    return runs;
  }
  bool has(std::size_t at, std::uint64_t hash) const {
    return stores[at - 1]->readable(BlockHash{hash}) != kvbm::kNoEntry;
  }

  std::vector<std::shared_ptr<TierStore>> stores;
  Tiers tiers;
};

TEST_CASE("a write-through tier has a block as soon as its transfer ends, not before") {
  Bench bench({level(10)});
  bench.compute(chain(0, 3));
  REQUIRE(bench.tiers.started().size() == 1);
  CHECK(bench.tiers.started()[0].from == 0);
  CHECK(bench.tiers.started()[0].to == 1);
  CHECK(bench.tiers.started()[0].bytes == Bytes(3000));
  CHECK(bench.lookup(chain(0, 3)).empty());
  bench.finish_all();
  const std::vector<Tiers::Run> runs = bench.lookup(chain(0, 5));
  REQUIRE(runs.size() == 1);
  CHECK(runs[0].level == 1);
  CHECK(runs[0].end == 3);
  CHECK(bench.tiers.traffic(1).blocks_written == 3);
}

TEST_CASE("a write-back tier gets what the device evicts, and once") {
  Bench bench({level(10, TierWrite::back)});
  bench.compute(chain(0, 2));
  CHECK(bench.finish_all() == 0);
  bench.evict({BlockHash{1}});
  CHECK(bench.finish_all() == 1);
  CHECK(bench.has(1, 1));
  CHECK_FALSE(bench.has(1, 0));
  bench.compute(chain(0, 2));
  bench.evict({BlockHash{1}});
  CHECK(bench.finish_all() == 0);
}

TEST_CASE("what the device evicts at once is written back in one transfer") {
  Bench bench({level(10, TierWrite::back)}, 1);
  bench.compute(chain(0, 6));
  bench.evict({BlockHash{5}, BlockHash{4}, BlockHash{99}, BlockHash{3}});
  REQUIRE(bench.tiers.started().size() == 1);
  CHECK(bench.tiers.started()[0].bytes == Bytes(3000));
  bench.finish_all();
  CHECK((bench.has(1, 3) && bench.has(1, 4) && bench.has(1, 5)));
  CHECK(bench.tiers.traffic(1).blocks_dropped == 0);
}

TEST_CASE("a selective tier gets a block at its second use") {
  Bench bench({level(10, TierWrite::through, 2)});
  bench.compute(chain(0, 3));
  CHECK(bench.finish_all() == 0);
  bench.tiers.used(bench.prompt(chain(0, 4)), 2);
  CHECK(bench.finish_all() == 1);
  CHECK(bench.has(1, 0));
  CHECK(bench.has(1, 1));
  CHECK_FALSE(bench.has(1, 2));
}

TEST_CASE("a block used too seldom is lost when the device evicts it") {
  Bench bench({level(10, TierWrite::back, 2)});
  bench.compute(chain(0, 2));
  bench.tiers.used(bench.prompt(chain(0, 1)), 1);
  bench.evict({BlockHash{1}});
  bench.evict({BlockHash{0}});
  CHECK(bench.finish_all() == 1);
  CHECK(bench.has(1, 0));
}

TEST_CASE("what the first tier evicts goes to a second that is written back") {
  Bench bench({level(2), level(10, TierWrite::back)});
  bench.compute(chain(0, 2));
  bench.finish_all();
  bench.compute(chain(100, 1));
  bench.finish_all();
  CHECK(bench.has(1, 100));
  CHECK_FALSE(bench.has(1, 1));  // the end of the prompt leaves first
  CHECK(bench.has(2, 1));
  CHECK(bench.tiers.traffic(2).blocks_written == 1);
}

TEST_CASE("blocks written through go on to the tier below") {
  Bench bench({level(10), level(10), level(10, TierWrite::through, 2)});
  bench.compute(chain(0, 2));
  CHECK(bench.finish_all() == 2);
  CHECK(bench.has(2, 1));
  CHECK_FALSE(bench.has(3, 1));
  bench.tiers.used(bench.prompt(chain(0, 2)), 2);
  CHECK(bench.finish_all() == 1);
  CHECK(bench.has(3, 1));
}

TEST_CASE("of a prompt larger than the tier, the beginning is written") {
  Bench bench({level(2)});
  bench.compute(chain(0, 4));
  bench.finish_all();
  const std::vector<Tiers::Run> runs = bench.lookup(chain(0, 4));
  REQUIRE(runs.size() == 1);
  CHECK(runs[0].begin == 0);
  CHECK(runs[0].end == 2);
}

TEST_CASE("loaded blocks are pinned until they have arrived, and stay in the tiers between") {
  Bench bench({level(2), level(10, TierWrite::back)});
  bench.compute(chain(0, 2));
  bench.finish_all();
  bench.compute(chain(100, 2));  // pushes the first prompt down
  bench.finish_all();
  REQUIRE(bench.has(2, 0));
  const std::vector<BlockHash> first = chain(0, 2);
  std::vector<Tiers::Run> runs = bench.lookup(first);
  REQUIRE(runs.size() == 1);
  CHECK(runs[0].level == 2);
  CHECK(bench.tiers.predicted_read(2, 2) == Duration(2500));
  REQUIRE(bench.tiers.load(RequestId(7), bench.prompt(first), runs));
  CHECK(bench.tiers.predicted_read(2, 2) == Duration(4500));  // behind the load in flight
  CHECK(bench.stores[1]->pins() >= 2);
  const kvbm::TierTransferId id = bench.tiers.started()[0].id;
  bench.tiers.check_invariants();
  CHECK(bench.tiers.finish(id).loaded == RequestId(7));
  CHECK_FALSE(bench.tiers.finish(id).loaded);
  bench.finish_all();
  CHECK(bench.has(1, 0));
  CHECK(bench.tiers.traffic(2).blocks_read == 2);
  CHECK(bench.stores[0]->pins() + bench.stores[1]->pins() == 0);
}

TEST_CASE("a load from two tiers is over when both transfers are") {
  Bench bench({level(4), level(10, TierWrite::back)});
  bench.compute(chain(0, 4));
  bench.finish_all();
  bench.compute(chain(100, 2));  // pushes the end of the first prompt down
  bench.finish_all();
  const std::vector<BlockHash> hashes = chain(0, 4);
  const std::vector<Tiers::Run> runs = bench.lookup(hashes);
  REQUIRE(runs.size() == 2);
  CHECK(runs[0].level == 1);
  CHECK(runs[1].level == 2);
  CHECK(runs[1].begin == 2);
  REQUIRE(bench.tiers.load(RequestId(1), bench.prompt(hashes), runs));
  REQUIRE(bench.tiers.started().size() >= 2);  // and what the second pushes out of the first
  CHECK_FALSE(bench.tiers.finish(bench.tiers.started()[1].id).loaded);
  CHECK(bench.tiers.finish(bench.tiers.started()[0].id).loaded == RequestId(1));
  bench.finish_all();
}

TEST_CASE("a load that is given up frees both ends at once, and its end is ignored") {
  Bench bench({level(4), level(10)});
  bench.compute(chain(0, 4));
  bench.finish_all();
  const std::vector<BlockHash> hashes = chain(0, 4);
  REQUIRE(bench.tiers.load(RequestId(3), bench.prompt(hashes), bench.lookup(hashes)));
  CHECK(bench.stores[0]->pins() == 4);
  bench.tiers.give_up(RequestId(3));
  CHECK(bench.stores[0]->pins() == 0);
  CHECK(bench.tiers.in_flight() == 0);
  CHECK(bench.finish_all() == 1);
  CHECK(bench.tiers.traffic(1).blocks_read == 0);
}

TEST_CASE("a prefetch brings blocks into the first tier, as many as fit") {
  Bench bench({level(3), level(10, TierWrite::back)});
  for (std::uint64_t first : {0, 100, 200}) {
    bench.compute(chain(first, 3));
    bench.finish_all();
  }
  const std::vector<BlockHash> hashes = chain(0, 3);
  REQUIRE(bench.lookup(hashes)[0].level == 2);
  REQUIRE(bench.tiers.prefetch(RequestId(5), bench.prompt(hashes), bench.lookup(hashes)));
  CHECK(bench.tiers.started()[0].to == 1);
  CHECK(bench.tiers.finish(bench.tiers.started()[0].id).loaded == RequestId(5));
  CHECK(bench.lookup(hashes)[0].level == 1);
  CHECK_FALSE(bench.tiers.prefetch(RequestId(6), bench.prompt(hashes), bench.lookup(hashes)));
  bench.finish_all();
}

TEST_CASE("no more transfers are in flight than allowed; blocks that miss theirs are counted") {
  Bench bench({level(10)}, 1);
  bench.compute(chain(0, 2));
  bench.compute(chain(100, 3));
  CHECK(bench.tiers.in_flight() == 1);
  CHECK(bench.tiers.traffic(1).blocks_dropped == 3);
  bench.finish_all();
  const std::vector<BlockHash> hashes = chain(0, 2);
  const std::vector<Tiers::Run> runs = bench.lookup(hashes);
  CHECK(bench.tiers.may_load(runs));
  bench.tiers.load(RequestId(1), bench.prompt(hashes), runs);
  CHECK_FALSE(bench.tiers.may_load(runs));
  bench.finish_all();
}

TEST_CASE("engines that share a tier find each other's blocks; one that ends leaves no pin") {
  const auto shared = std::make_shared<TierStore>(10, EvictionKind::lru);
  Bench one({{shared, TierWrite::through, 1, {}, {}}});
  auto two = std::make_unique<Bench>(
      std::vector<TierLevel>{{shared, TierWrite::through, 1, BytesPerSec(1e9), {}}});
  one.compute(chain(0, 2));
  one.finish_all();
  const std::vector<BlockHash> hashes = chain(0, 2);
  REQUIRE(two->lookup(hashes).size() == 1);
  two->tiers.load(RequestId(0), two->prompt(hashes), two->lookup(hashes));
  two->compute(chain(50, 2));
  CHECK(shared->pins() == 4);
  two.reset();
  CHECK(shared->pins() == 0);
  CHECK(shared->size() == 2);
  shared->check_invariants();
}

TEST_CASE("a full tier whose blocks are all pinned takes no more") {
  TierStore store(1, EvictionKind::lru);
  std::vector<TierStore::Left> left;
  const kvbm::Entry entry = store.reserve({BlockHash{1}, {}, 0, 0}, 1, left);
  CHECK(store.reserve({BlockHash{2}, {}, 0, 0}, 1, left) == kvbm::kNoEntry);
  store.fill(entry);
  CHECK(store.reserve({BlockHash{2}, {}, 0, 0}, 1, left) != kvbm::kNoEntry);
  REQUIRE(left.size() == 1);
  CHECK(left[0].use.hash == BlockHash{1});
}

TEST_CASE("the Belady bound takes no block whose next use is farther than all inside") {
  TierStore store(1, EvictionKind::belady);
  std::vector<TierStore::Left> left;
  store.fill(store.reserve({BlockHash{1}, {}, 0, 5}, 1, left));
  CHECK(store.reserve({BlockHash{2}, {}, 0, 6}, 1, left) == kvbm::kNoEntry);
  CHECK(store.reserve({BlockHash{3}, {}, 0, 4}, 1, left) != kvbm::kNoEntry);
}

}  // namespace
