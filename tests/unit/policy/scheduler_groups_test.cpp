#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <utility>

#include "blocks.h"
#include "dyn/policy/scheduler.h"

namespace {

using namespace dyn;
using namespace dyn::policy;
using dyn::policy::test::blocks;

/// A scheduler with blocks of four tokens for a model of several kinds of layers.
struct Bench {
  Bench(const perf::CacheGroups& groups, std::int64_t budget, std::int64_t pages)
      : scheduler(options(groups, budget, pages)) {}

  static SchedulerOptions options(const perf::CacheGroups& groups, std::int64_t budget,
                                  std::int64_t pages) {
    SchedulerOptions result;
    result.config.block_size = 4;
    result.config.max_num_batched_tokens = budget;
    result.config.max_num_seqs = 8;
    result.config.kv_blocks = pages;
    result.every_token = true;
    result.kv_events = true;
    result.groups = groups;
    return result;
  }
  void submit(std::uint32_t id, std::int64_t prompt, std::int64_t output,
              std::vector<kvbm::BlockHash> blocks = {}) {
    prompts.push_back(std::move(blocks));
    scheduler.submit({RequestId(id), prompt, output, kvbm::PromptBlocks(prompts.back())});
  }
  /// Does one step; returns the pages in use while it is done.
  std::int64_t step() {
    outcome.clear();
    scheduler.begin_step(SimTime{}, outcome);
    scheduler.check_invariants();
    const std::int64_t used = scheduler.used_blocks();
    prompt_tokens = scheduler.batch().prefill_tokens;
    if (!scheduler.batch().empty()) {
      scheduler.end_step(SimTime{}, outcome);
    }
    scheduler.check_invariants();
    return used;
  }
  void finish_all() {
    while (scheduler.has_work()) {
      step();
    }
  }

  Scheduler scheduler;
  std::deque<std::vector<kvbm::BlockHash>> prompts;  ///< what requests point to
  Outcome outcome;
  std::int64_t prompt_tokens = 0;
};

perf::CacheGroups windows(int groups, std::int64_t tokens) {
  perf::CacheGroups result;
  result.sliding = groups;
  result.window = tokens;
  return result;
}

perf::CacheGroups states(int groups, std::int64_t blocks) {
  perf::CacheGroups result;
  result.linear = groups;
  result.state_blocks = blocks;
  return result;
}

TEST_CASE("blocks that a window has left behind are free again before the next chunk") {
  Bench b(windows(1, 8), 8, 100);
  b.submit(1, 20, 10);
  CHECK(b.step() == 2 + 2);
  // 8 computed: the next token sees the last 7 of them, so that none of the blocks goes.
  CHECK(b.step() == 4 + 4);
  // 16 computed: the first 9 are out of sight, and two blocks with them.
  CHECK(b.step() == 5 + 3);
  // 20 computed: 13 are, and three blocks; the token goes into a sixth one.
  CHECK(b.step() == 6 + 3);
  // From now on a block goes for each that comes.
  for (int token = 2; token < 10; ++token) {
    CHECK(b.step() <= 8 + 3);
  }
  CHECK(b.scheduler.used_blocks() == 0);
}

TEST_CASE("every group with a window has blocks of its own") {
  Bench b(windows(3, 8), 20, 100);
  b.submit(1, 20, 3);
  CHECK(b.step() == 4 * 5);
  CHECK(b.step() == 6 + 3 * 3);
}

TEST_CASE("a hit needs the last window's blocks alone, and all of these") {
  Bench b(windows(1, 5), 16, 10);
  b.submit(1, 16, 1, blocks(100, 4));
  b.finish_all();
  // Two pages were never used, and the ends of prompts go first, those of windows before others.
  b.submit(2, 8, 1, blocks(200, 2));
  b.finish_all();
  // The first four blocks are all there, but of the window's the last two have gone.
  b.submit(3, 20, 1, blocks(100, 5));
  b.step();
  REQUIRE(b.outcome.admitted.size() == 1);
  CHECK(b.outcome.admitted[0].cached_tokens == 8);
}

TEST_CASE("beginnings that a window has left behind need not be in the cache") {
  Bench b(windows(1, 5), 100, 14);
  b.submit(1, 24, 1, blocks(100, 6));
  b.finish_all();
  b.submit(2, 28, 1, blocks(100, 7));
  // It holds six cached blocks and one more, and of the window's the last and one more.
  CHECK(b.step() == 7 + 2);
  REQUIRE(b.outcome.admitted.size() == 1);
  CHECK(b.outcome.admitted[0].cached_tokens == 24);
}

TEST_CASE("a long prompt is admitted by what it holds at most, not by its length") {
  // 40 tokens in chunks of 8: ten blocks, and (7 + 8) / 4 + 1 = 5 in the window.
  Bench fits(windows(1, 8), 8, 15);
  fits.submit(1, 40, 1);
  CHECK(fits.step() > 0);
  EngineRequest request{RequestId(1), 40, 1, {}};
  CHECK_FALSE(Bench(windows(1, 8), 8, 14).scheduler.fits(request));
}

TEST_CASE("a blocked request enters when windows leave enough behind") {
  Bench b(windows(1, 8), 100, 18);
  b.submit(1, 20, 12);
  b.submit(2, 17, 1);  // ten pages
  CHECK(b.step() == 10);
  // Three blocks are left behind, and a token takes two more pages; nine are free.
  CHECK(b.step() == 9);
  CHECK(b.step() == 9);
  CHECK(b.scheduler.quiet_steps() == 1);
  CHECK(b.step() == 9);
  // With 23 tokens computed a further block is left behind.
  CHECK(b.step() == 8 + 10);
  CHECK(b.outcome.admitted.size() == 1);
}

TEST_CASE("the router is told of the blocks of the whole context alone") {
  Bench b(windows(2, 8), 100, 100);
  b.submit(1, 16, 1, blocks(100, 4));
  b.finish_all();
  std::uint32_t stored = 0;
  for (const kvbm::KvEvent& event : b.scheduler.kv_events()) {
    stored += event.count;
  }
  CHECK(stored == 4);
}

TEST_CASE("a state is kept where a chunk ends, and the last chunk begins after one") {
  Bench b(states(2, 2), 100, 100);  // a state takes two pages of each group, and is of 8 tokens
  b.submit(1, 22, 2, blocks(100, 5));
  CHECK(b.step() == 4 + 2 * 2);
  CHECK(b.prompt_tokens == 16);
  CHECK(b.step() == 6 + 2 * 4);  // goes on from one state to another
  CHECK(b.prompt_tokens == 6);
  CHECK(b.step() == 6 + 2 * 2);
  // The same for 20 tokens: all of them that a state was kept after.
  b.submit(2, 20, 1, blocks(100, 5));
  b.step();
  CHECK(b.outcome.admitted.at(0).cached_tokens == 16);
  b.finish_all();
  // The same for 12 tokens: no state was kept within them.
  b.submit(3, 12, 1, blocks(100, 3));
  b.step();
  CHECK(b.outcome.admitted.at(0).cached_tokens == 0);
}

TEST_CASE("where a prompt parts from a cached one a state is kept for the next") {
  Bench b(states(1, 2), 100, 100);
  std::vector<kvbm::BlockHash> prompts[3];
  for (std::uint64_t i = 0; i < 3; ++i) {
    prompts[i] = blocks(100, 5);  // 20 tokens that all begin with
    for (const kvbm::BlockHash hash : blocks(1000 * (i + 1), 5)) {
      prompts[i].push_back(hash);
    }
    b.submit(static_cast<std::uint32_t>(i), 41, 1, prompts[i]);
    b.step();
    CHECK(b.outcome.admitted.at(0).cached_tokens == (i == 2 ? 16 : 0));
    CHECK(b.prompt_tokens == (i == 0 ? 40 : i == 1 ? 16 : 24));
    b.finish_all();
  }
}

TEST_CASE("a state that is only computed in this step serves nobody before the next") {
  Bench b(states(1, 1), 100, 100);
  b.submit(1, 10, 1, blocks(100, 2));
  b.submit(2, 10, 1, blocks(100, 2));
  b.step();
  CHECK(b.outcome.admitted.size() == 1);
  b.step();
  REQUIRE(b.outcome.admitted.size() == 1);
  CHECK(b.outcome.admitted[0].cached_tokens == 8);
}

TEST_CASE("a chunk that cannot reach the next state leaves the rest of the step unused") {
  Bench b(states(1, 4), 20, 100);  // states of 16 tokens
  b.submit(1, 40, 1);
  b.submit(2, 3, 1);
  b.step();
  CHECK(b.prompt_tokens == 16);
  CHECK(b.outcome.admitted.size() == 1);
}

TEST_CASE("without prefix caching a sequence has one state, which its chunks share") {
  SchedulerOptions options = Bench::options(states(1, 4), 10, 100);
  options.config.prefix_caching = false;
  Scheduler scheduler(options);
  scheduler.submit({RequestId(1), 30, 1, {}});
  Outcome outcome;
  scheduler.begin_step(SimTime{}, outcome);
  CHECK(scheduler.batch().prefill_tokens == 10);
  CHECK(scheduler.used_blocks() == 3 + 4);
  scheduler.end_step(SimTime{}, outcome);
  scheduler.begin_step(SimTime{}, outcome);
  CHECK(scheduler.used_blocks() == 5 + 4);
}

/// All layers have a window of eight tokens, which touches three blocks at most.
perf::CacheGroups all_slide() {
  perf::CacheGroups groups;
  groups.whole = 0;
  groups.sliding = 1;
  groups.window = 8;
  return groups;
}

TEST_CASE("where all layers slide a sequence holds no more than its window, however long it gets") {
  Bench b(all_slide(), 64, 20);
  b.submit(0, 30, 400);
  CHECK(b.step() == 8);  // the whole prompt, once
  for (int i = 0; i < 398; ++i) {
    const std::int64_t used = b.step();
    CHECK(used >= 2);
    CHECK(used <= 3);
  }
  b.finish_all();
  CHECK(b.scheduler.used_blocks() == 0);
}

TEST_CASE("where all layers slide a cache of a few windows runs as many requests at once") {
  Bench b(all_slide(), 16, 20);
  EngineRequest longer{RequestId(9), 4000, 4000, {}};
  CHECK(b.scheduler.fits(longer));  // seven blocks while it is computed
  for (std::uint32_t id = 0; id < 8; ++id) {
    b.submit(id, 12, 300);
  }
  std::int32_t most = 0;
  while (b.scheduler.has_work()) {
    b.step();
    most = std::max(most, b.scheduler.running());
  }
  CHECK(most >= 6);  // of two or three blocks each
  Bench narrow(all_slide(), 64, 10);
  CHECK_FALSE(narrow.scheduler.fits({RequestId(9), 4000, 4000, {}}));  // a chunk has 16 blocks
}

TEST_CASE("where all layers slide a prefix is found as far as its last window is cached") {
  Bench b(all_slide(), 64, 12);
  b.submit(0, 41, 1, blocks(100, 10));
  b.finish_all();
  CHECK(b.scheduler.cached_blocks() == 10);
  b.submit(1, 41, 1, blocks(100, 10));
  b.step();
  CHECK(b.outcome.admitted.front().cached_tokens == 40);
  b.finish_all();
  b.submit(2, 41, 1, blocks(500, 10));  // takes the pages of the first
  b.finish_all();
  b.submit(3, 41, 1, blocks(100, 10));
  b.step();
  CHECK(b.outcome.admitted.front().cached_tokens == 0);
}

}  // namespace
