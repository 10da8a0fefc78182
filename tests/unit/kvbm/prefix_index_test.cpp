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
  CHECK(index.segments() == 5);
  CHECK(index.blocks(WorkerId(0)) == 4);
}

TEST_CASE("a worker that leaves is forgotten, and blocks that only it had with it") {
  PrefixIndex index(2, 100);
  for (std::uint64_t hash = 0; hash < 10; ++hash) {
    index.stored(WorkerId(0), BlockHash{hash});
  }
  index.stored(WorkerId(1), BlockHash{3});
  index.apply(WorkerId(0), {KvEvent::Kind::cleared, BlockHash{}});
  CHECK(index.segments() == 1);
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
  CHECK(index.segments() == bound);
  CHECK(index.evictions() == 20'000 + 50 - bound);
  CHECK(largest < bound * 120);
  index.check_invariants();
}

TEST_CASE("the index agrees with a set of blocks per worker while it has room") {
  REQUIRE(rc::check([] {
    // A prompt of 12 blocks in segments of 1 to 5, of which events tell of any range.
    std::vector<PromptSegment> segments;
    while (segments.empty() || segments.back().end < 12) {
      const std::uint32_t end = segments.empty() ? 0 : segments.back().end;
      segments.push_back({BlockHash{segments.size()}, end + *rc::gen::inRange(1U, 6U)});
    }
    const PromptBlocks blocks(segments, 1, 12);
    const std::uint32_t workers = *rc::gen::element(1U, 3U, 64U, 65U, 130U);
    PrefixIndex index(workers, 1000);
    std::vector<std::set<std::uint64_t>> reference(workers);
    const int operations = *rc::gen::inRange(0, 200);
    for (int i = 0; i < operations; ++i) {
      const std::uint32_t worker = *rc::gen::inRange<std::uint32_t>(0, workers);
      const auto begin = *rc::gen::inRange(0U, 12U);
      const auto end = *rc::gen::inRange(begin, 12U) + 1;
      const int kind = *rc::gen::inRange(0, 20);
      if (kind == 0) {
        index.remove_worker(WorkerId(worker));
        reference[worker].clear();
        continue;
      }
      blocks.each_range(begin, end, [&](const BlockRange& range) {
        kind < 13 ? index.stored(WorkerId(worker), range) : index.removed(WorkerId(worker), range);
        return true;
      });
      for (std::uint32_t b = begin; b < end; ++b) {
        if (kind < 13) {
          reference[worker].insert(b);
        } else {
          reference[worker].erase(b);
        }
      }
      index.check_invariants();
    }
    // A prompt may end inside a segment.
    const PromptBlocks asked(segments, 1, *rc::gen::inRange(0U, 13U));
    std::vector<std::uint32_t> found(workers, 99);
    index.leading_runs(asked, found);
    for (std::uint32_t worker = 0; worker < workers; ++worker) {
      RC_ASSERT(index.blocks(WorkerId(worker)) == reference[worker].size());
      std::uint32_t expected = 0;
      while (expected < asked.size() && reference[worker].count(expected) == 1) {
        ++expected;
      }
      RC_ASSERT(found[worker] == expected);
    }
  }));
}

}  // namespace
