#include "dyn/core/random.h"

#include <rapidcheck.h>

#include <array>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <vector>

using dyn::RandomStream;

namespace {

struct Moments {
  double mean = 0;
  double deviation = 0;
};

template <class Sampler>
Moments moments(Sampler sample) {
  constexpr int kSamples = 200'000;
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < kSamples; ++i) {
    const double x = sample();
    sum += x;
    squares += x * x;
  }
  const double mean = sum / kSamples;
  return {mean, std::sqrt(squares / kSamples - mean * mean)};
}

}  // namespace

TEST_CASE("equal seed and name give equal numbers, others give other numbers") {
  REQUIRE(rc::check("streams", [](std::uint64_t seed) {
    RandomStream a(seed, "arrivals");
    RandomStream same(seed, "arrivals");
    RandomStream other_name(seed, "lengths");
    RandomStream other_seed(seed + 1, "arrivals");
    int equal_name = 0;
    int equal_seed = 0;
    for (int i = 0; i < 50; ++i) {
      const std::uint64_t value = a.next();
      RC_ASSERT(value == same.next());
      equal_name += value == other_name.next() ? 1 : 0;
      equal_seed += value == other_seed.next() ? 1 : 0;
    }
    RC_ASSERT(equal_name == 0);
    RC_ASSERT(equal_seed == 0);
  }));
}

TEST_CASE("uniform numbers lie in [0, 1) with the moments of a uniform variable") {
  RandomStream random(1, "uniform");
  const Moments m = moments([&] {
    const double x = random.uniform();
    REQUIRE((x >= 0.0 && x < 1.0));
    return x;
  });
  CHECK(m.mean == Approx(0.5).epsilon(0.01));
  CHECK(m.deviation == Approx(std::sqrt(1.0 / 12.0)).epsilon(0.01));
}

TEST_CASE("below() stays below its bound") {
  REQUIRE(rc::check("bound", [](std::uint64_t seed, std::uint64_t bound) {
    RandomStream random(seed, "bound");
    const std::uint64_t limit = bound == 0 ? 1 : bound;
    for (int i = 0; i < 20; ++i) {
      RC_ASSERT(random.below(limit) < limit);
    }
  }));
}

TEST_CASE("below() gives every number of a small range equally often") {
  RandomStream random(3, "dice");
  std::array<int, 6> counts{};
  for (int i = 0; i < 60'000; ++i) {
    ++counts[random.below(6)];
  }
  for (const int count : counts) {
    CHECK(std::abs(count - 10'000) < 400);  // 4 standard deviations are 365
  }
}

TEST_CASE("each sampler has the mean and deviation it is asked for") {
  RandomStream random(11, "moments");
  const Moments exponential = moments([&] { return random.exponential(3.0); });
  CHECK(exponential.mean == Approx(3.0).epsilon(0.01));
  CHECK(exponential.deviation == Approx(3.0).epsilon(0.02));

  const Moments normal = moments([&] { return random.normal(); });
  CHECK(std::fabs(normal.mean) < 0.01);
  CHECK(normal.deviation == Approx(1.0).epsilon(0.01));

  const Moments lognormal = moments([&] { return random.lognormal(500.0, 250.0); });
  CHECK(lognormal.mean == Approx(500.0).epsilon(0.01));
  CHECK(lognormal.deviation == Approx(250.0).epsilon(0.02));

  const Moments gamma = moments([&] { return random.gamma(4.0, 2.0); });
  CHECK(gamma.mean == Approx(8.0).epsilon(0.01));
  CHECK(gamma.deviation == Approx(4.0).epsilon(0.02));

  const Moments bursty = moments([&] { return random.gamma(0.25, 4.0); });
  CHECK(bursty.mean == Approx(1.0).epsilon(0.02));
  CHECK(bursty.deviation == Approx(2.0).epsilon(0.02));
}

TEST_CASE("a lognormal variable without deviation is its mean") {
  RandomStream random(5, "fixed");
  for (int i = 0; i < 10; ++i) {
    CHECK(random.lognormal(42.0, 0.0) == 42.0);
  }
}

TEST_CASE("a normal variable has the tails of a normal variable") {
  RandomStream random(12, "tails");
  int beyond_two = 0;
  for (int i = 0; i < 200'000; ++i) {
    beyond_two += std::fabs(random.normal()) > 2.0 ? 1 : 0;
  }
  CHECK(beyond_two / 200'000.0 == Approx(0.0455).epsilon(0.03));
}

// These constants hold on every machine; ctest runs this case a second time with glibc told not
// to use FMA and AVX2.
TEST_CASE("every sampler gives the same bits on every machine", "[portable]") {
  RandomStream random(2024, "bits");
  CHECK(random.next() == 0xb0cd05ce16f8e6adU);
  std::uint64_t hash = 0;
  const auto add = [&hash](double value) {
    hash = (std::rotl(hash, 5) ^ std::bit_cast<std::uint64_t>(value)) * 0x9e3779b97f4a7c15U;
  };
  for (int i = 0; i < 20'000; ++i) {
    add(random.uniform());
    add(random.exponential(0.125));
    add(random.normal());
    add(random.lognormal(4000.0, 1234.5));
    add(random.gamma(3.7, 0.9));
    add(random.gamma(0.3, 11.0));
    add(static_cast<double>(random.below(1'000'003)));
  }
  CHECK(hash == 0xc1d1318dd950e381U);
}
