#include "cache_guess.h"

#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <set>

using namespace dyn::serve;
using dyn::kvbm::BlockHash;
using dyn::kvbm::KvEvent;

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
      for (const KvEvent& event : guess.computed(blocks)) {
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
  guess.computed(first);
  const auto events = guess.computed(second);
  REQUIRE(events.size() == 3);
  CHECK(events[2].kind == KvEvent::Kind::removed);
  CHECK(events[2].hash == BlockHash{2});
  guess.clear();
  CHECK(guess.size() == 0);
}
