#include "dyn/core/math.h"

#include <rapidcheck.h>

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <limits>

#include "dyn/core/random.h"

namespace {

using dyn::portable_exp;
using dyn::portable_log;
using dyn::portable_pow;

/// Distance from the exact value in units of the last place of `value`.
double ulps(double value, long double exact) {
  const double nearest = static_cast<double>(exact);
  if (value == nearest) {
    return 0;
  }
  const double next = std::nextafter(std::fabs(nearest), std::numeric_limits<double>::infinity());
  const long double ulp = next - std::fabs(nearest);
  return static_cast<double>(std::fabs(static_cast<long double>(value) - exact) / ulp);
}

/// Any positive normal double, all exponents alike.
double positive(dyn::RandomStream& random) {
  const std::uint64_t exponent = 1 + random.below(2046);
  return std::bit_cast<double>((exponent << 52) | (random.next() >> 12));
}

}  // namespace

TEST_CASE("the portable logarithm is within 2 ulp over the whole normal range") {
  REQUIRE(rc::check("log", [](std::uint64_t seed) {
    dyn::RandomStream random(seed, "log");
    for (int i = 0; i < 200; ++i) {
      const double wide = positive(random);
      RC_ASSERT(ulps(portable_log(wide), std::log(static_cast<long double>(wide))) <= 2.0);
      const double near_one = 1.0 + (random.uniform() - 0.5) * std::ldexp(1.0, -(i % 52));
      RC_ASSERT(ulps(portable_log(near_one), std::log(static_cast<long double>(near_one))) <= 2.0);
    }
  }));
}

TEST_CASE("the portable exponential is within 2 ulp wherever the result is normal") {
  REQUIRE(rc::check("exp", [](std::uint64_t seed) {
    dyn::RandomStream random(seed, "exp");
    for (int i = 0; i < 200; ++i) {
      const double wide = -708.0 + random.uniform() * 1417.7;
      RC_ASSERT(ulps(portable_exp(wide), std::exp(static_cast<long double>(wide))) <= 2.0);
      const double small = (random.uniform() - 0.5) * std::ldexp(1.0, -(i % 60));
      RC_ASSERT(ulps(portable_exp(small), std::exp(static_cast<long double>(small))) <= 2.0);
    }
  }));
}

TEST_CASE("the portable power is within 2 ulp wherever the result is normal") {
  REQUIRE(rc::check("pow", [](std::uint64_t seed) {
    dyn::RandomStream random(seed, "pow");
    for (int i = 0; i < 200; ++i) {
      const double base = i % 2 == 0 ? positive(random) : 0.5 + random.uniform();
      const double limit = 708.0 / std::fabs(std::log(base));
      const double exponent = (2.0 * random.uniform() - 1.0) * limit;
      // The x87 power is right to about 64 bits less those of the exponent: 1 ulp of slack holds.
      const long double exact =
          std::pow(static_cast<long double>(base), static_cast<long double>(exponent));
      RC_ASSERT(ulps(portable_pow(base, exponent), exact) <= 2.0);
    }
  }));
}

TEST_CASE("special values follow the standard's functions") {
  const double infinity = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(portable_log(1.0) == 0.0);
  CHECK(portable_log(0.0) == -infinity);
  CHECK(std::isnan(portable_log(-1.0)));
  CHECK(std::isnan(portable_log(nan)));
  CHECK(portable_log(infinity) == infinity);
  CHECK(portable_log(std::numeric_limits<double>::denorm_min()) == Approx(-744.4400719213812));
  CHECK(portable_exp(0.0) == 1.0);
  CHECK(portable_exp(1000.0) == infinity);
  CHECK(portable_exp(709.9) == infinity);
  CHECK(portable_exp(-1000.0) == 0.0);
  CHECK(portable_exp(-745.0) > 0.0);
  CHECK(std::isnan(portable_exp(nan)));
  CHECK(portable_pow(2.0, 10.0) == 1024.0);
  CHECK(portable_pow(10.0, -2.0) == 0.01);
  CHECK(portable_pow(0.0, 2.0) == 0.0);
  CHECK(portable_pow(0.0, -2.0) == infinity);
  CHECK(portable_pow(infinity, -1.0) == 0.0);
  CHECK(portable_pow(nan, 0.0) == 1.0);
  CHECK(portable_pow(1.0, nan) == 1.0);
  CHECK(std::isnan(portable_pow(-2.0, 0.5)));
  CHECK(portable_pow(10.0, 400.0) == infinity);
  CHECK(portable_pow(10.0, -400.0) == 0.0);
}

// These constants hold on every machine; ctest runs this case a second time with glibc told not
// to use FMA and AVX2.
TEST_CASE("log, exp and pow give the same bits on every machine", "[portable]") {
  std::uint64_t hash = 0;
  const auto add = [&hash](double value) {
    hash = (std::rotl(hash, 5) ^ std::bit_cast<std::uint64_t>(value)) * 0x9e3779b97f4a7c15U;
  };
  dyn::RandomStream random(7, "bits");
  for (int i = 0; i < 100'000; ++i) {
    const double x = positive(random);
    const double y = (random.uniform() - 0.5) * 1400.0;
    add(portable_log(x));
    add(portable_exp(y));
    add(portable_pow(x, y / 1400.0));
  }
  CHECK(hash == 0x7897cf9382850714U);
}
