#include "dyn/kvbm/flat_map.h"

#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <map>

namespace {

using dyn::kvbm::FlatMap;

TEST_CASE("a flat map behaves as a map under any insertions and deletions") {
  REQUIRE(rc::check([] {
    FlatMap<int> map;
    std::map<std::uint64_t, int> reference;
    const auto operations = *rc::gen::container<std::vector<std::pair<bool, std::uint64_t>>>(
        rc::gen::pair(rc::gen::arbitrary<bool>(), rc::gen::inRange<std::uint64_t>(0, 60)));
    int value = 0;
    for (const auto& [insert, key] : operations) {
      ++value;
      if (insert) {
        RC_ASSERT(map.insert(key, value).second == reference.emplace(key, value).second);
      } else {
        RC_ASSERT(map.erase(key) == (reference.erase(key) == 1));
      }
      RC_ASSERT(map.size() == reference.size());
    }
    for (std::uint64_t key = 0; key < 60; ++key) {
      const int* found = map.find(key);
      const auto expected = reference.find(key);
      RC_ASSERT((found != nullptr) == (expected != reference.end()));
      if (found != nullptr) {
        RC_ASSERT(*found == expected->second);
      }
    }
  }));
}

TEST_CASE("an empty flat map finds and erases nothing, and a cleared one is empty") {
  FlatMap<int> map;
  CHECK(map.find(1) == nullptr);
  CHECK_FALSE(map.erase(1));
  map.reserve(1000);
  const std::size_t bytes = map.bytes();
  for (std::uint64_t key = 0; key < 1000; ++key) {
    map.insert(key, 1);
  }
  CHECK(map.bytes() == bytes);
  map.clear();
  CHECK(map.empty());
  CHECK(map.find(5) == nullptr);
}

}  // namespace
