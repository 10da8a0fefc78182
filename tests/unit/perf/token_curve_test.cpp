#include "token_curve.h"

#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "measured_grid.h"
#include "operators.h"
#include "pricing.h"

namespace dyn::perf {

TEST_CASE("A curve is exact at every small count and between steps of a straight line") {
  const TokenCurve curve([](std::int64_t n) { return 3.0 + 2.0 * static_cast<double>(n); });
  for (const double n : {1.0, 2.0, 17.0, 511.0, 512.0, 513.0, 700.0, 8191.0, 100000.0, 1048575.0}) {
    CHECK(curve.at(n) == Approx(3.0 + 2.0 * n));
  }
  CHECK(curve.at(0) == 0);
  CHECK(curve.at(4.0e6) == Approx(3.0 + 8.0e6));
  CHECK(TokenCurve().at(123456) == 0);
}

TEST_CASE("A curve never decreases though what it samples does") {
  const TokenCurve curve([](std::int64_t n) { return n == 100 ? 5.0 : 1.0; });
  CHECK(curve.at(99) == 1.0);
  CHECK(curve.at(100) == 5.0);
  CHECK(curve.at(5000) == 5.0);
}

TEST_CASE("Curves add up point by point") {
  TokenCurve a([](std::int64_t n) { return static_cast<double>(n); });
  const TokenCurve b([](std::int64_t n) { return std::sqrt(static_cast<double>(n)); });
  const double before = a.at(5000) + b.at(5000);
  a += b;
  CHECK(a.at(5000) == Approx(before));
  a *= 2;
  CHECK(a.at(5000) == Approx(2 * before));
}

TEST_CASE("A correction is linear in log2(x) and held beyond its ends") {
  const std::vector<CorrectionPoint> points{{4, 1.0}, {64, 2.0}};
  CHECK(correction_at(points, 1) == 1.0);
  CHECK(correction_at(points, 16) == Approx(1.5));
  CHECK(correction_at(points, 1e9) == 2.0);
  CHECK(correction_at({}, 7) == 1.0);
  const FactorCurve curve(points);
  CHECK(curve.at(0) == 1.0);
  CHECK(curve.at(16) == Approx(1.5));
  CHECK(curve.at(32) == Approx(1.75));
  CHECK(curve.at(1e18) == 2.0);
  CHECK(FactorCurve().at(100) == 1.0);
}

TEST_CASE("The expected number of used experts runs from the first token's to all of them") {
  CHECK(expected_experts(128, 8, 1) == Approx(8));
  CHECK(expected_experts(128, 8, 2) == Approx(8 + 8 * (120.0 / 128)));
  CHECK(expected_experts(128, 8, 100000) == Approx(128));
}

TEST_CASE("A measured grid keeps the complete part of uneven measurements") {
  std::vector<GridPoint<2>> points;
  for (const double x : {1.0, 2.0, 4.0}) {
    for (const double y : {10.0, 20.0}) {
      points.push_back({{x, y}, x * y});
    }
  }
  points.push_back({{3.0, 10.0}, 99.0});  // a row that lacks y = 20
  const MeasuredGrid<2> grid(points);
  CHECK(grid.size(0) == 3);
  CHECK(grid.size(1) == 2);
  CHECK(grid.at({3.0, 15.0}) == Approx(45.0));
  CHECK(grid.at({0.5, 5.0}) == Approx(10.0));
  CHECK(grid.at({9.0, 99.0}) == Approx(80.0));
}

namespace {

/// The obvious way: all neighbours found by going through the axes, and one dimension after the
/// other interpolated where there are two.
template <std::size_t N>
double slowly(const std::array<std::vector<double>, N>& axes, const std::vector<double>& values,
              const std::array<double, N>& x, std::size_t d = 0, std::size_t base = 0) {
  if (d == N) {
    return values[base];
  }
  std::size_t below = 0;
  while (below + 1 < axes[d].size() && axes[d][below + 1] <= x[d]) {
    ++below;
  }
  const std::size_t at = base * axes[d].size() + below;
  const double low = slowly(axes, values, x, d + 1, at);
  if (below + 1 == axes[d].size() || x[d] <= axes[d][below]) {
    return low;
  }
  const double high = slowly(axes, values, x, d + 1, at + 1);
  const double per_width = 1 / (axes[d][below + 1] - axes[d][below]);  // as the grid rounds it
  return low + (x[d] - axes[d][below]) * per_width * (high - low);
}

}  // namespace

TEST_CASE("A measured grid answers to the bit what the obvious interpolation does") {
  REQUIRE(rc::check([] {
    std::array<std::vector<double>, 3> axes;
    for (std::vector<double>& axis : axes) {
      double knot = *rc::gen::inRange(0, 40) * 0.25;
      for (int left = *rc::gen::inRange(1, 6); left > 0; --left) {
        axis.push_back(knot);
        knot += *rc::gen::element(0.25, 1.0, 3.3, 16.0, 500.0);
      }
    }
    std::vector<GridPoint<3>> points;
    std::vector<double> values;
    for (const double a : axes[0]) {
      for (const double b : axes[1]) {
        for (const double c : axes[2]) {
          values.push_back(*rc::gen::inRange(0, 1'000'000) * 1e-7);
          points.push_back({{a, b, c}, values.back()});
        }
      }
    }
    const MeasuredGrid<3> grid(points);
    for (int i = 0; i < 20; ++i) {
      std::array<double, 3> x{};
      for (std::size_t d = 0; d < x.size(); ++d) {
        x[d] =
            *rc::gen::oneOf(rc::gen::elementOf(axes[d]),
                            rc::gen::map(rc::gen::inRange(0, 9000), [](int n) { return n / 4.0; }));
      }
      RC_ASSERT(grid.at(x) == slowly(axes, values, x));
    }
  }));
}

}  // namespace dyn::perf
