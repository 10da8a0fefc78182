#include "dyn/kvbm/block_pool.h"

#include <catch2/catch.hpp>

namespace {

using namespace dyn;
using namespace dyn::kvbm;

std::vector<BlockHash> hashes(std::uint64_t first, std::uint64_t count) {
  std::vector<BlockHash> result;
  for (std::uint64_t i = 0; i < count; ++i) {
    result.push_back(BlockHash{first + i});
  }
  return result;
}

/// Takes and names blocks `of`; returns them.
HeldBlocks hold(BlockPool& pool, const std::vector<BlockHash>& of) {
  HeldBlocks ids;
  pool.take(of.size());
  pool.publish(PromptBlocks(of), 0, static_cast<std::uint32_t>(of.size()), ids);
  return ids;
}

std::uint32_t cached_run(const BlockPool& pool, const std::vector<BlockHash>& of) {
  HeldBlocks found;
  return pool.match(PromptBlocks(of), 1000, found).blocks;
}

TEST_CASE("released blocks are found again until they are taken") {
  BlockPool pool(8);
  const auto prompt = hashes(1, 4);
  const auto ids = hold(pool, prompt);
  CHECK(pool.used() == 4);
  pool.release(ids, 0);
  CHECK(pool.used() == 0);
  CHECK(pool.cached() == 4);
  CHECK(pool.free() == 8);
  CHECK(cached_run(pool, prompt) == 4);
  pool.take(4);  // the four that were never used
  CHECK(cached_run(pool, prompt) == 4);
  pool.take(1);
  CHECK(cached_run(pool, prompt) == 3);
  pool.check_invariants(0, 5);
}

TEST_CASE("a request's blocks are taken suffix first, nameless ones before those with a hash") {
  BlockPool pool(6);
  const auto prompt = hashes(1, 3);
  const auto ids = hold(pool, prompt);
  pool.take(3);
  pool.release(ids, 3);
  pool.take(3);
  CHECK(cached_run(pool, prompt) == 3);
  for (std::uint32_t left = 3; left-- > 0;) {
    pool.take(1);
    CHECK(cached_run(pool, prompt) == left);
  }
  pool.check_invariants(0, 6);
}

TEST_CASE("the least recently released prompt is taken first, and a hit makes it recent") {
  BlockPool pool(4);
  const auto a = hashes(10, 2);
  const auto b = hashes(20, 2);
  const auto ids_a = hold(pool, a);
  const auto ids_b = hold(pool, b);
  pool.release(ids_a, 0);
  pool.release(ids_b, 0);
  HeldBlocks found;
  REQUIRE(pool.match(PromptBlocks(a), 2, found).idle == 2);
  pool.acquire(found);
  CHECK(pool.free() == 2);
  pool.release(found, 0);
  pool.take(2);
  CHECK(cached_run(pool, a) == 2);
  CHECK(cached_run(pool, b) == 0);
  pool.check_invariants(0, 2);
}

TEST_CASE("a shared block stays used until its last reference goes") {
  BlockPool pool(4);
  const auto prompt = hashes(1, 2);
  const auto ids = hold(pool, prompt);
  HeldBlocks found;
  const BlockPool::Match match = pool.match(PromptBlocks(prompt), 1, found);
  CHECK(match.blocks == 1);
  CHECK(match.idle == 0);
  pool.acquire(found);
  pool.check_invariants(3, 0);
  pool.release(ids, 0);
  CHECK(pool.used() == 1);
  pool.release(found, 0);
  CHECK(pool.used() == 0);
  pool.check_invariants(0, 0);
}

TEST_CASE("two copies of a block: events tell of the first and the last, the older is found") {
  BlockPool pool(3);
  pool.record_events(true);
  const auto prompt = hashes(5, 1);
  const auto older = hold(pool, prompt);
  const auto newer = hold(pool, prompt);
  REQUIRE(pool.events().size() == 1);
  CHECK(pool.events()[0].kind == KvEvent::Kind::stored);
  HeldBlocks found;
  pool.match(PromptBlocks(prompt), 1, found);
  CHECK(found == older);
  pool.release(older, 0);
  pool.release(newer, 0);
  pool.events().clear();
  pool.take(2);  // the unused one and the older copy
  CHECK(pool.events().empty());
  CHECK(cached_run(pool, prompt) == 1);
  pool.take(1);
  REQUIRE(pool.events().size() == 1);
  CHECK(pool.events()[0].kind == KvEvent::Kind::removed);
  CHECK(pool.events()[0].hash == BlockHash{5});
  CHECK(cached_run(pool, prompt) == 0);
}

TEST_CASE("the newer of two copies may go first") {
  BlockPool pool(3);
  pool.record_events(true);
  const auto prompt = hashes(5, 1);
  const auto older = hold(pool, prompt);
  const auto newer = hold(pool, prompt);
  pool.release(newer, 0);
  pool.events().clear();
  pool.take(2);
  CHECK(pool.events().empty());
  CHECK(cached_run(pool, prompt) == 1);
  pool.check_invariants(1, 2);
  pool.release(older, 2);
  pool.check_invariants(0, 0);
}

TEST_CASE("clearing forgets everything, but not while a block is in use") {
  BlockPool pool(4);
  pool.record_events(true);
  const auto prompt = hashes(1, 2);
  const auto ids = hold(pool, prompt);
  CHECK_FALSE(pool.clear());
  pool.release(ids, 0);
  CHECK(pool.clear());
  CHECK(pool.events().back().kind == KvEvent::Kind::cleared);
  CHECK(pool.cached() == 0);
  CHECK(pool.free() == 4);
  CHECK(cached_run(pool, prompt) == 0);
  pool.check_invariants(0, 0);
}

}  // namespace
