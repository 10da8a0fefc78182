#include "gap_counts.h"

#include <catch2/catch.hpp>

namespace {

using namespace dyn;
using namespace std::chrono_literals;

TEST_CASE("gaps are counted by size to the microsecond, in order") {
  engine::GapCounts gaps;
  gaps.add(2ms, 3);
  gaps.add(1ms, 1);
  gaps.add(2ms + 400ns, 2);
  gaps.add(5ms, 0);
  const std::vector<GapCount> sorted = gaps.sorted();
  REQUIRE(sorted.size() == 2);
  CHECK(sorted[0].gap == 1ms);
  CHECK(sorted[0].count == 1);
  CHECK(sorted[1].gap == 2ms);
  CHECK(sorted[1].count == 5);
}

TEST_CASE("long gaps are rounded so that their number is bounded") {
  engine::GapCounts gaps;
  for (int i = 0; i < 1'000'000; i += 7) {
    gaps.add(10s + std::chrono::microseconds(i), 1);
  }
  const std::vector<GapCount> sorted = gaps.sorted();
  CHECK(sorted.size() < 10'000);
  for (const GapCount& gap : sorted) {
    CHECK(gap.gap >= 10s);
    CHECK(gap.gap <= 11s + 1ms);
  }
}

}  // namespace
