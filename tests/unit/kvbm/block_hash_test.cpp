#include "dyn/kvbm/block_hash.h"

#include <catch2/catch.hpp>
#include <set>
#include <vector>

namespace {

using namespace dyn::kvbm;

TEST_CASE("equal prefixes have equal hashes and different ones differ") {
  const std::vector<std::uint32_t> a{1, 2, 3, 4};
  const std::vector<std::uint32_t> b{1, 2, 3, 5};
  const BlockHash root = chain_root("tenant-1");
  CHECK(chain(root, a) == chain(root, a));
  CHECK(chain(root, a) != chain(root, b));
  CHECK(chain(chain(root, a), b) != chain(root, b));
  CHECK(chain(chain(root, a), b) != chain(chain(root, b), b));
}

TEST_CASE("another salt shares no block") {
  const std::vector<std::uint32_t> tokens{7, 8, 9};
  CHECK(chain(chain_root("a"), tokens) != chain(chain_root("b"), tokens));
  CHECK(chain(chain_root("a"), std::uint64_t{5}) != chain(chain_root("b"), std::uint64_t{5}));
  CHECK(chain_root("") != chain_root("a"));
}

TEST_CASE("hashes stay the same over versions and machines") {
  // Written down once: events and indexes of different builds must agree.
  const std::vector<std::uint32_t> tokens{1, 2, 3};
  CHECK(static_cast<std::uint64_t>(chain(BlockHash{0}, tokens)) == 0x6bbf7429332bea48ULL);
  // XXH3's own test vector: nothing, seed 0.
  const std::span<const std::uint32_t> nothing;
  CHECK(static_cast<std::uint64_t>(chain(BlockHash{0}, nothing)) == 0x2d06800538d394c2ULL);
  CHECK(static_cast<std::uint64_t>(nth_block(BlockHash{0}, 1)) == 0xe220a8397b1dcdafULL);
}

TEST_CASE("the blocks within a trace's block are distinct") {
  std::set<BlockHash> seen;
  for (std::uint64_t block = 0; block < 100; ++block) {
    for (std::uint32_t i = 0; i < 32; ++i) {
      seen.insert(nth_block(BlockHash{block}, i));
    }
  }
  CHECK(seen.size() == 3200);
}

TEST_CASE("a prompt view with a factor names each engine block once") {
  const std::vector<BlockHash> hashes{BlockHash{10}, BlockHash{20}};
  const PromptBlocks blocks(hashes, 4, 7);
  REQUIRE(blocks.size() == 7);
  CHECK(blocks[0] == BlockHash{10});
  CHECK(blocks[3] == nth_block(BlockHash{10}, 3));
  CHECK(blocks[6] == nth_block(BlockHash{20}, 2));
  CHECK(PromptBlocks(hashes)[1] == BlockHash{20});
  CHECK(PromptBlocks().empty());
}

TEST_CASE("a prompt is visited segment by segment, from any block to any other") {
  const std::vector<PromptSegment> segments{{BlockHash{10}, 1}, {BlockHash{20}, 4}};
  const PromptBlocks blocks(segments, 2, 7);
  const auto ranges = [&](std::uint32_t begin, std::uint32_t end) {
    std::vector<BlockRange> result;
    blocks.each_range(begin, end, [&](const BlockRange& range) {
      result.push_back(range);
      return true;
    });
    return result;
  };
  const BlockHash a{10};
  const BlockHash b{20};
  CHECK(ranges(0, 100) == std::vector<BlockRange>{{a, 0, 2}, {b, 0, 5}});
  CHECK(ranges(1, 3) == std::vector<BlockRange>{{a, 1, 1}, {b, 0, 1}});
  CHECK(ranges(2, 2).empty());
  CHECK(ranges(4, 6) == std::vector<BlockRange>{{b, 2, 2}});
  CHECK(blocks[1] == nth_block(a, 1));
  CHECK(blocks[2] == b);
  CHECK(blocks[6] == nth_block(b, 4));
}

}  // namespace
