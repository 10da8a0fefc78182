#include "dyn/kvbm/prefix_index.h"

#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <map>
#include <set>

namespace {

using namespace dyn;
using namespace dyn::kvbm;

std::vector<BlockHash> prompt(std::uint64_t first, std::uint64_t count) {
  std::vector<BlockHash> result;
  for (std::uint64_t i = 0; i < count; ++i) {
    result.push_back(BlockHash{first + i});
  }
  return result;
}

std::vector<std::uint32_t> runs(PrefixIndex& index, std::uint32_t workers,
                                const std::vector<BlockHash>& blocks) {
  std::vector<std::uint32_t> result(workers, 99);
  index.leading_runs(PromptBlocks(blocks), result);
  return result;
}

TEST_CASE("each worker's leading run ends at its first missing block") {
  PrefixIndex index(3, 100);
  const auto blocks = prompt(1, 5);
  for (const std::uint64_t hash : {1, 2, 3, 4, 5}) {
    index.stored(WorkerId(0), BlockHash{hash});
  }
  for (const std::uint64_t hash : {1, 2, 4, 5}) {
    index.stored(WorkerId(1), BlockHash{hash});
  }
  index.stored(WorkerId(2), BlockHash{2});
  CHECK(runs(index, 3, blocks) == std::vector<std::uint32_t>{5, 2, 0});
  index.removed(WorkerId(0), BlockHash{1});
  CHECK(runs(index, 3, blocks) == std::vector<std::uint32_t>{0, 2, 0});
  CHECK(index.blocks() == 5);
  CHECK(index.blocks(WorkerId(0)) == 4);
}

TEST_CASE("a worker that leaves is forgotten, and blocks that only it had with it") {
  PrefixIndex index(2, 100);
  for (std::uint64_t hash = 0; hash < 10; ++hash) {
    index.stored(WorkerId(0), BlockHash{hash});
  }
  index.stored(WorkerId(1), BlockHash{3});
  index.apply(WorkerId(0), {KvEvent::Kind::cleared, BlockHash{}});
  CHECK(index.blocks() == 1);
  CHECK(index.blocks(WorkerId(0)) == 0);
  index.check_invariants();
}

TEST_CASE("the index is bounded and keeps what look-ups find") {
  const std::uint64_t bound = 1000;
  PrefixIndex index(70, bound);
  const auto hot = prompt(1, 50);
  for (const BlockHash hash : hot) {
    index.stored(WorkerId(69), hash);
  }
  std::uint64_t largest = 0;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    index.stored(WorkerId(static_cast<std::uint32_t>(i % 70)), BlockHash{1'000'000 + i});
    if (i % 100 == 0) {
      CHECK(runs(index, 70, hot)[69] == 50);
    }
    largest = std::max(largest, index.bytes());
  }
  CHECK(index.blocks() == bound);
  CHECK(index.evictions() == 20'000 + 50 - bound);
  CHECK(largest < bound * 120);
  index.check_invariants();
}

TEST_CASE("the index agrees with a set per worker while it has room") {
  REQUIRE(rc::check([] {
    const std::uint32_t workers = *rc::gen::element(1U, 3U, 64U, 65U, 130U);
    PrefixIndex index(workers, 1000);
    std::vector<std::set<std::uint64_t>> reference(workers);
    const int operations = *rc::gen::inRange(0, 200);
    for (int i = 0; i < operations; ++i) {
      const std::uint32_t worker = *rc::gen::inRange<std::uint32_t>(0, workers);
      const std::uint64_t hash = *rc::gen::inRange<std::uint64_t>(0, 12);
      const int kind = *rc::gen::inRange(0, 20);
      if (kind == 0) {
        index.remove_worker(WorkerId(worker));
        reference[worker].clear();
      } else if (kind < 13) {
        index.stored(WorkerId(worker), BlockHash{hash});
        reference[worker].insert(hash);
      } else {
        index.removed(WorkerId(worker), BlockHash{hash});
        reference[worker].erase(hash);
      }
    }
    index.check_invariants();
    const auto found = runs(index, workers, prompt(0, 12));
    for (std::uint32_t worker = 0; worker < workers; ++worker) {
      std::uint32_t expected = 0;
      while (expected < 12 && reference[worker].count(expected) == 1) {
        ++expected;
      }
      RC_ASSERT(found[worker] == expected);
    }
  }));
}

}  // namespace
