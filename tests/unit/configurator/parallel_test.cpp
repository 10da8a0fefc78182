#include "parallel.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <stdexcept>
#include <vector>

namespace dyn::configurator {
namespace {

TEST_CASE("every index is run exactly once, whatever the number of threads") {
  for (const int threads : {0, 1, 2, 7}) {
    std::vector<std::atomic<int>> runs(100);
    parallel_for(
        100, threads, [&](std::size_t i) { ++runs[i]; }, {}, nullptr);
    for (const std::atomic<int>& count : runs) {
      REQUIRE(count == 1);
    }
  }
}

TEST_CASE("the exception of the lowest index is rethrown after all have ended") {
  std::atomic<int> ended{0};
  const auto body = [&](std::size_t i) {
    ++ended;
    if (i == 3 || i == 7) {
      throw std::runtime_error(std::to_string(i));
    }
  };
  REQUIRE_THROWS_WITH(parallel_for(10, 3, body, {}, nullptr), "3");
  REQUIRE(ended == 10);
}

TEST_CASE("nothing begins once it is cancelled") {
  const std::atomic<bool> cancelled{true};
  int runs = 0;
  parallel_for(
      5, 1, [&](std::size_t) { ++runs; }, {}, &cancelled);
  REQUIRE(runs == 0);
}

TEST_CASE("nothing to do is done at once") {
  parallel_for(
      0, 4, [](std::size_t) { FAIL("called"); }, {}, nullptr);
}

}  // namespace
}  // namespace dyn::configurator
