#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <utility>

#include "dyn/core/recipe.h"
#include "dyn/kvbm/block_pool.h"
#include "kvbm_naive_chosen_pool.h"
#include "policy_naive_scheduler.h"

namespace {

using namespace dyn;

/// A holder of blocks in both pools, of a prompt that it names part by part.
struct Holder {
  kvbm::PromptBlocks prompt;
  kvbm::HeldBlocks named;
  std::uint64_t nameless = 0;
  std::vector<int> blocks;    ///< in the naive pool
  std::uint32_t dropped = 0;  ///< given back before the others
};

/// Prompts of two families, cut into segments of 1 to 5 blocks.
class Families {
 public:
  Families() {
    for (std::uint64_t family = 0; family < 2; ++family) {
      std::uint32_t end = 0;
      for (std::uint64_t s = 0; end < kLongest; ++s) {
        end += *rc::gen::inRange<std::uint32_t>(1, 6);
        segments_[family].push_back({kvbm::BlockHash{family * 100 + s}, end});
      }
    }
  }
  kvbm::PromptBlocks prompt() const {
    return {segments_[*rc::gen::inRange(0, 2)], 1, *rc::gen::inRange(0U, kLongest + 1)};
  }

 private:
  static constexpr std::uint32_t kLongest = 12;
  std::vector<kvbm::PromptSegment> segments_[2];
};

std::vector<kvbm::BlockHash> hashes(const kvbm::PromptBlocks& blocks) {
  std::vector<kvbm::BlockHash> result;
  for (std::uint32_t i = 0; i < blocks.size(); ++i) {
    result.push_back(blocks[i]);
  }
  return result;
}

using BlockEvents = std::vector<std::pair<kvbm::KvEvent::Kind, kvbm::BlockHash>>;

/// One entry a block.
BlockEvents by_block(const std::vector<kvbm::KvEvent>& events) {
  BlockEvents result;
  for (const kvbm::KvEvent& event : events) {
    for (std::uint32_t i = 0; i < event.count; ++i) {
      const bool stored = event.kind == kvbm::KvEvent::Kind::stored;
      const std::uint32_t index = stored ? i : event.count - 1 - i;
      result.emplace_back(event.kind, kvbm::nth_block(event.hash, event.first + index));
    }
  }
  return result;
}

/// A pool beside a naive one, which does the same.
template <class Naive>
class Pools {
 public:
  Pools(kvbm::BlockPool pool, Naive naive) : pool_(std::move(pool)), naive_(std::move(naive)) {
    pool_.record_events(true);
  }

  void step(const Families& families) {
    const int kind = holders_.empty() ? 2 : *rc::gen::inRange(0, 5);
    if (kind >= 4) {
      drop_front(holders_[*rc::gen::inRange<std::size_t>(0, holders_.size())]);
      return;
    }
    if (kind >= 2) {
      begin(families.prompt());
      return;
    }
    const auto which = *rc::gen::inRange<std::size_t>(0, holders_.size());
    if (kind == 1) {
      name_more(holders_[which]);
      return;
    }
    pool_.release(holders_[which].named, holders_[which].nameless);
    naive_.release(holders_[which].blocks);
    holders_.erase(holders_.begin() + static_cast<std::ptrdiff_t>(which));
  }

  void compare() {
    std::uint64_t references = 0;
    std::uint64_t nameless = 0;
    for (const Holder& holder : holders_) {
      references += holder.named.size();
      nameless += holder.nameless;
    }
    pool_.check_invariants(references, nameless);
    RC_ASSERT(static_cast<int>(pool_.free()) == naive_.free());
    RC_ASSERT(static_cast<int>(pool_.cached()) == naive_.cached());
    RC_ASSERT(by_block(pool_.events()) == by_block(naive_.events));
  }

 private:
  /// Uses what is cached of a prompt, and takes blocks for the rest and some output.
  void begin(const kvbm::PromptBlocks& prompt) {
    const auto limit = *rc::gen::inRange<std::uint32_t>(0, 13);
    Holder holder;
    holder.prompt = prompt;
    const auto match = pool_.match(prompt, limit, holder.named);
    holder.blocks = naive_.match(hashes(prompt), limit);
    RC_ASSERT(match.blocks == holder.blocks.size());
    RC_ASSERT(holder.named.size() == match.blocks);
    RC_ASSERT(static_cast<int>(match.idle) == naive_.idle(holder.blocks));
    check_runs(prompt, limit);
    const auto rest = prompt.size() - match.blocks + *rc::gen::inRange<std::uint32_t>(0, 5);
    if (match.idle + rest > pool_.free()) {
      return;
    }
    pool_.acquire(holder.named);
    naive_.acquire(holder.blocks);
    pool_.take(rest);
    for (std::uint32_t b = 0; b < rest; ++b) {
      holder.blocks.push_back(naive_.take());
    }
    holder.nameless = rest;
    holders_.push_back(holder);
    name_more(holders_.back());
  }

  /// Runs are what a look at each block finds; the blocks of each can be found again.
  void check_runs(const kvbm::PromptBlocks& prompt, std::uint32_t limit) {
    std::vector<kvbm::BlockPool::Run> runs;
    pool_.cached_runs(prompt, limit, 100, runs);
    std::vector<int> there(13, -1);
    for (std::uint32_t b = 0; b < std::min(limit, prompt.size()); ++b) {
      there[b] = naive_.find(prompt[b]);
    }
    std::uint32_t before = 0;
    for (const kvbm::BlockPool::Run& run : runs) {
      RC_ASSERT(run.begin >= 100 + before && run.begin < run.end);
      RC_ASSERT(before == 0 || run.begin > 100 + before);
      before = run.end - 100;
      std::vector<int> blocks;
      for (std::uint32_t b = run.begin - 100; b < before; ++b) {
        RC_ASSERT(there[b] >= 0);
        blocks.push_back(std::exchange(there[b], -1));
      }
      kvbm::HeldBlocks found;
      const auto idle = pool_.match_range(prompt, run.begin - 100, before, found);
      RC_ASSERT(static_cast<int>(idle) == naive_.idle(blocks));
      RC_ASSERT(found.size() == blocks.size());
    }
    RC_ASSERT(std::count(there.begin(), there.end(), -1) == 13);
  }

  void drop_front(Holder& holder) {
    const auto count = *rc::gen::inRange<std::uint32_t>(0, holder.named.size() + 1);
    pool_.release_front(holder.named, count);
    naive_.release({holder.blocks.begin(), holder.blocks.begin() + count});
    holder.blocks.erase(holder.blocks.begin(), holder.blocks.begin() + count);
    holder.dropped += count;
  }

  void name_more(Holder& holder) {
    const std::uint32_t begin = holder.dropped + holder.named.size();
    const auto end = *rc::gen::inRange(begin, holder.prompt.size() + 1);
    pool_.publish(holder.prompt, begin, end, holder.named);
    holder.nameless -= end - begin;
    for (std::uint32_t b = begin; b < end; ++b) {
      const std::uint32_t place = b - holder.dropped;
      naive_.name(holder.blocks[place], holder.prompt[b],
                  place > 0 ? holder.blocks[place - 1] : kNone);
    }
  }

  static constexpr int kNone = -1;

  kvbm::BlockPool pool_;
  Naive naive_;
  std::vector<Holder> holders_;
};

/// Blocks in the order of their releases, one entry each.
class Lru : public test::NaivePool {
 public:
  using NaivePool::NaivePool;
  void name(int block, kvbm::BlockHash hash, int /*before*/) { NaivePool::name(block, hash); }
};

template <class Naive>
void run(kvbm::BlockPool pool, Naive naive) {
  const Families families;
  Pools<Naive> pools(std::move(pool), std::move(naive));
  const int operations = *rc::gen::inRange(0, 200);
  for (int i = 0; i < operations; ++i) {
    pools.step(families);
    pools.compare();
  }
}

TEST_CASE("the pool of segments and counts does what one with an entry a block does") {
  REQUIRE(rc::check([] {
    const int total = *rc::gen::inRange(1, 60);
    run(kvbm::BlockPool(static_cast<std::uint64_t>(total)), Lru(total));
  }));
}

TEST_CASE("a pool whose evictor chooses does what one with an entry a block does") {
  for (const EvictionKind kind :
       {EvictionKind::s3_fifo, EvictionKind::tiny_lfu, EvictionKind::cost_aware}) {
    CAPTURE(static_cast<int>(kind));
    REQUIRE(rc::check([kind] {
      const int total = *rc::gen::inRange(1, 60);
      const kvbm::RecomputeCost cost{1000, 300};
      run(kvbm::BlockPool(static_cast<std::uint64_t>(total), kind, cost),
          test::NaiveChosenPool(total, kind, cost));
    }));
  }
}

}  // namespace
