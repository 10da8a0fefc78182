#include <rapidcheck.h>

#include <catch2/catch.hpp>

#include "dyn/core/recipe.h"
#include "dyn/kvbm/block_pool.h"
#include "policy_naive_scheduler.h"

namespace {

using namespace dyn;

/// A holder of blocks in both pools.
struct Holder {
  std::vector<BlockId> named;
  std::uint64_t nameless = 0;
  std::vector<int> blocks;  ///< in the naive pool
};

TEST_CASE("the pool that counts nameless blocks does what one with an entry a block does") {
  REQUIRE(rc::check([] {
    const int total = *rc::gen::inRange(1, 40);
    kvbm::BlockPool pool(static_cast<std::uint64_t>(total));
    pool.record_events(true);
    test::NaivePool naive(total);
    std::vector<Holder> holders;
    const int operations = *rc::gen::inRange(0, 150);
    for (int i = 0; i < operations; ++i) {
      if (!holders.empty() && *rc::gen::arbitrary<bool>()) {
        const auto which = *rc::gen::inRange<std::size_t>(0, holders.size());
        pool.release(holders[which].named, holders[which].nameless);
        naive.release(holders[which].blocks);
        holders.erase(holders.begin() + static_cast<std::ptrdiff_t>(which));
      } else {
        // A prompt of one of two families, of which what is cached is used, and some output.
        const int family = *rc::gen::inRange(0, 2);
        std::vector<kvbm::BlockHash> prompt(*rc::gen::inRange<std::size_t>(0, 12));
        for (std::size_t b = 0; b < prompt.size(); ++b) {
          prompt[b] = kvbm::BlockHash{family * 100 + b};
        }
        const kvbm::PromptBlocks blocks(prompt);
        const auto limit = *rc::gen::inRange<std::uint32_t>(0, 13);
        Holder holder;
        const auto match = pool.match(blocks, limit, holder.named);
        holder.blocks = naive.match(prompt, limit);
        RC_ASSERT(match.blocks == holder.blocks.size());
        RC_ASSERT(static_cast<int>(match.idle) == naive.idle(holder.blocks));
        const std::uint32_t rest = blocks.size() - match.blocks;
        const auto output = *rc::gen::inRange<std::uint32_t>(0, 5);
        if (match.idle + rest + output > pool.free()) {
          continue;
        }
        pool.acquire(holder.named);
        naive.acquire(holder.blocks);
        pool.take(rest + output);
        for (std::uint32_t b = 0; b < rest + output; ++b) {
          holder.blocks.push_back(naive.take());
        }
        pool.publish(blocks, match.blocks, blocks.size(), holder.named);
        for (std::uint32_t b = match.blocks; b < blocks.size(); ++b) {
          naive.name(holder.blocks[b], prompt[b]);
        }
        holder.nameless = output;
        holders.push_back(holder);
      }
      std::uint64_t references = 0;
      std::uint64_t nameless = 0;
      for (const Holder& holder : holders) {
        references += holder.named.size();
        nameless += holder.nameless;
      }
      pool.check_invariants(references, nameless);
      RC_ASSERT(static_cast<int>(pool.free()) == naive.free());
      RC_ASSERT(static_cast<int>(pool.cached()) == naive.cached());
      RC_ASSERT(pool.events().size() == naive.events.size());
      for (std::size_t e = 0; e < naive.events.size(); ++e) {
        RC_ASSERT(pool.events()[e].kind == naive.events[e].kind);
        RC_ASSERT(pool.events()[e].hash == naive.events[e].hash);
      }
    }
  }));
}

}  // namespace
