#include "dyn/policy/cache_guess.h"

#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <set>

using namespace dyn::policy;
using namespace std::chrono_literals;
using dyn::SimTime;
using dyn::kvbm::BlockHash;
using dyn::kvbm::KvEvent;
using dyn::kvbm::PromptBlocks;

TEST_CASE("the guess never exceeds its capacity and its events tell what it holds") {
  REQUIRE(rc::check([](const std::vector<std::vector<std::uint8_t>>& prompts) {
    CacheGuess guess(5);
    std::set<std::uint64_t> known;
    for (const auto& prompt : prompts) {
      std::vector<BlockHash> blocks;
      std::set<std::uint8_t> seen;
      for (const std::uint8_t b : prompt) {
        if (seen.insert(b).second) {
          blocks.push_back(BlockHash{b});
        }
      }
      std::vector<KvEvent> events;
      guess.computed(PromptBlocks(blocks), SimTime{}, events);
      for (const KvEvent& event : events) {
        const auto hash = static_cast<std::uint64_t>(event.hash);
        if (event.kind == KvEvent::Kind::stored) {
          known.insert(hash);
        } else {
          RC_ASSERT(known.erase(hash) == 1U);
        }
      }
      RC_ASSERT(guess.size() <= 5U);
      RC_ASSERT(known.size() == guess.size());
    }
  }));
}

TEST_CASE("the end of a prompt is forgotten before its beginning") {
  CacheGuess guess(3);
  const std::vector<BlockHash> first{BlockHash{1}, BlockHash{2}};
  const std::vector<BlockHash> second{BlockHash{3}, BlockHash{4}};
  std::vector<KvEvent> events;
  guess.computed(PromptBlocks(first), SimTime{}, events);
  events.clear();
  guess.computed(PromptBlocks(second), SimTime{}, events);
  REQUIRE(events.size() == 3);
  CHECK(events[2].kind == KvEvent::Kind::removed);
  CHECK(events[2].hash == BlockHash{2});
  guess.clear();
  CHECK(guess.size() == 0);
}

TEST_CASE("blocks that were not used for their time to live are forgotten, used ones stay") {
  CacheGuess guess(10, 5s);
  const std::vector<BlockHash> first{BlockHash{1}, BlockHash{2}};
  const std::vector<BlockHash> again{BlockHash{1}};
  std::vector<KvEvent> events;
  guess.computed(PromptBlocks(first), SimTime(0s), events);
  guess.computed(PromptBlocks(again), SimTime(4s), events);
  events.clear();
  guess.expire(SimTime(5s), events);
  CHECK(events.empty());
  guess.expire(SimTime(6s), events);
  REQUIRE(events.size() == 1);
  CHECK(events[0].kind == KvEvent::Kind::removed);
  CHECK(events[0].hash == BlockHash{2});
  guess.expire(SimTime(10s), events);
  CHECK(guess.size() == 0);
}
