#include "surface.h"

#include <rapidcheck.h>

#include <array>
#include <catch2/catch.hpp>
#include <cmath>

#include "dyn/core/error.h"
#include "fit_choice.h"
#include "monotone_grid.h"

namespace dyn::perf {
namespace {

TEST_CASE("a surface is linear in logarithms between its knots and held beyond them") {
  const Surface surface(std::vector<CorrectionSurface>{
      {{{"tokens", {1, 4}}, {"n", {16, 64, 1024}}}, {0, 100, 200, 200, 300, 400}}});
  Quantities q;
  const auto at = [&](double tokens, double n) {
    q[Quantity::tokens] = tokens;
    q[Quantity::n] = n;
    return std::log2(surface.factor(q));
  };
  CHECK(at(1, 16) == Approx(0).margin(1e-12));
  CHECK(at(4, 1024) == Approx(4));
  CHECK(at(2, 16) == Approx(1));
  CHECK(at(2, 32) == Approx(1.5));
  CHECK(at(1, 256) == Approx(1.5));
  CHECK(at(0.1, 1) == Approx(0).margin(1e-12));
  CHECK(at(1000, 1e6) == Approx(4));
  CHECK(Surface().factor(q) == 1);
}

TEST_CASE("the surfaces of a fit add up") {
  const Surface both(std::vector<CorrectionSurface>{{{{"tokens", {1, 4}}}, {0, 100}},
                                                    {{{"n", {16, 64}}, {"k", {2}}}, {50, -50}}});
  Quantities q;
  q[Quantity::tokens] = 2;
  q[Quantity::n] = 32;
  CHECK(both.factor(q) == Approx(std::exp2(0.5)));
  q[Quantity::n] = 64;
  CHECK(both.factor(q) == Approx(1));
}

TEST_CASE("a surface that is held in some quantities is the same in the others") {
  std::vector<double> values;
  for (int i = 0; i < 3 * 4 * 2; ++i) {
    values.push_back(100 * std::sin(7.0 * i));
  }
  const Surface surface(std::vector<CorrectionSurface>{
      {{{"tokens", {1, 8, 90}}, {"n", {16, 64, 100, 1024}}, {"k", {2, 9}}}, values},
      {{{"n", {16, 64}}}, {30, -50}},
      {{{"k", {4}}}, {7}}});
  REQUIRE(rc::check([&surface] {
    const auto any = [] { return std::exp2(0.01 * *rc::gen::inRange(-300, 1200)); };
    Quantities q;
    q[Quantity::n] = any();
    q[Quantity::k] = any();
    const Surface tokens = surface.held(q, {Quantity::tokens});
    const Surface two = surface.held(q, {Quantity::tokens, Quantity::k});
    const Surface none = surface.held(q, {});
    q[Quantity::tokens] = 1;
    RC_ASSERT(std::abs(none.factor(q) / none.factor(Quantities()) - 1) < 1e-12);
    q[Quantity::tokens] = any();
    RC_ASSERT(std::abs(tokens.factor(q) / surface.factor(q) - 1) < 1e-12);
    q[Quantity::k] = any();
    RC_ASSERT(std::abs(two.factor(q) / surface.factor(q) - 1) < 1e-12);
  }));
}

TEST_CASE("a surface of a quantity that is not known is refused") {
  const std::vector<CorrectionSurface> moons{{{{"moons", {1}}}, {0}}};
  CHECK_THROWS_AS(Surface(moons), Error);
}

TEST_CASE("a factor grid is exact at its steps, linear between, held beyond") {
  const FactorGrid grid(4, 3, [](double x, double y) { return x + 10 * y; });
  CHECK(grid.at(1, 1) == Approx(11));
  CHECK(grid.at(6, 8) == Approx(86));
  CHECK(grid.at(5, 2.5) == Approx(30));
  CHECK(grid.at(0, -1) == Approx(11));
  CHECK(grid.at(100, 100) == Approx(96));
}

TEST_CASE("a monotone grid keeps what is linear, and is held beyond its ends") {
  const MonotoneGrid<2, 1> grid({4, 3}, [](const std::array<double, 2>& at) {
    return 5 + at[0] + 10 * at[1] + 2 * at[0] * at[1];
  });
  const auto exact = [](double x, double y) { return 5 + x + 10 * y + 2 * x * y; };
  for (const double x : {1., 1.25, 1.5, 2.9, 5., 15.9, 16.}) {
    for (const double y : {1., 1.7, 3., 7.5, 8.}) {
      INFO(x << ", " << y);
      CHECK(grid.at({x, y}) == Approx(exact(x, y)).epsilon(1e-6));
    }
  }
  CHECK(grid.at({0, -3}) == Approx(exact(1, 1)));
  CHECK(grid.at({17, 1e30}) == Approx(exact(16, 8)));
  CHECK(MonotoneGrid<2, 1>().at({3, 3}) == 0);
  MonotoneGrid<2, 1> twice;
  twice += grid;
  twice += grid;
  twice += MonotoneGrid<2, 1>();
  CHECK(twice.at({3.3, 2.2}) == 2 * grid.at({3.3, 2.2}));
}

TEST_CASE("a monotone grid never falls, however rough what it samples is") {
  const MonotoneGrid<3, 0> grid({6, 6, 3}, [](const std::array<double, 3>& at) {
    return at[0] * at[1] * at[2] * (2 + std::sin(12.9898 * at[0] + 78.233 * at[1] + at[2]));
  });
  REQUIRE(rc::check([&grid] {
    std::array<double, 3> low{};
    std::array<double, 3> high{};
    for (std::size_t i = 0; i < 3; ++i) {
      low[i] = *rc::gen::inRange(1, 3000) * 0.03;
      high[i] = low[i] + *rc::gen::inRange(0, 2000) * 0.05;
    }
    RC_ASSERT(grid.at(high) >= grid.at(low) * (1 - 1e-12));
  }));
}

OperatorFit fit_of(const char* engine, Precision precision, int gpus = 1) {
  OperatorFit fit;
  fit.kind = gpus > 1 ? OperatorKind::all_reduce : OperatorKind::gemm;
  fit.engine = engine;
  fit.precision = precision;
  fit.gpus = gpus;
  return fit;
}

TEST_CASE("the fit that is nearest to an operator is chosen, and says what differs") {
  Profile profile;
  profile.operators = {fit_of("vllm", Precision::bf16), fit_of("sglang", Precision::fp8),
                       fit_of("vllm", Precision::fp8), fit_of("vllm", Precision::bf16, 8),
                       fit_of("vllm", Precision::bf16, 2)};
  Operator op;
  op.precision = Precision::fp8;
  CHECK(choose_fit(op, "vllm", profile).fit == &profile.operators[2]);
  CHECK(choose_fit(op, "vllm", profile).differences.empty());
  CHECK(choose_fit(op, "trtllm", profile).differences == "kernels of sglang");
  op.precision = Precision::fp8_block;
  CHECK(choose_fit(op, "sglang", profile).fit == &profile.operators[1]);
  CHECK(choose_fit(op, "sglang", profile).differences == "another precision");
  op.precision = Precision::int4;  // multiplies in bf16
  CHECK(choose_fit(op, "vllm", profile).fit == &profile.operators[0]);
  op.kind = OperatorKind::all_reduce;
  op.group = 16;
  CHECK(choose_fit(op, "vllm", profile).fit == &profile.operators[3]);
  op.kind = OperatorKind::all_gather;  // none: the most similar collective
  CHECK(choose_fit(op, "vllm", profile).fit->kind == OperatorKind::all_reduce);
  op.kind = OperatorKind::sampling;
  CHECK(choose_fit(op, "vllm", profile).fit == nullptr);
}

}  // namespace
}  // namespace dyn::perf
