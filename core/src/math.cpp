#include "dyn/core/math.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>

namespace dyn {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInverseLn2 = 1.4426950408889634;
constexpr double kLn2High = 0x1.62e42fefa39efp-1;  // ln 2 to 106 bits as a sum of two doubles
constexpr double kLn2Low = 0x1.abc9e3b39803fp-56;

/// An unevaluated sum of two doubles, |low| <= ulp(high) / 2: about 106 bits. The operations
/// below are error-free transformations (Dekker 1971, Knuth TAOCP 4.2.2) and need no FMA.
struct Pair {
  double high = 0;
  double low = 0;
};

Pair two_sum(double a, double b) {
  const double sum = a + b;
  const double from_b = sum - a;
  return {sum, (a - (sum - from_b)) + (b - from_b)};
}

/// As two_sum, for |a| >= |b|.
Pair quick_two_sum(double a, double b) {
  const double sum = a + b;
  return {sum, b - (sum - a)};
}

Pair split(double a) {
  const double scaled = 134217729.0 * a;  // 2^27 + 1
  const double high = scaled - (scaled - a);
  return {high, a - high};
}

Pair two_product(double a, double b) {
  const double product = a * b;
  const Pair x = split(a);
  const Pair y = split(b);
  const double error =
      ((x.high * y.high - product) + x.high * y.low + x.low * y.high) + x.low * y.low;
  return {product, error};
}

Pair add(Pair a, Pair b) {
  const Pair sum = two_sum(a.high, b.high);
  return quick_two_sum(sum.high, sum.low + (a.low + b.low));
}

Pair multiply(Pair a, Pair b) {
  const Pair product = two_product(a.high, b.high);
  return quick_two_sum(product.high, product.low + (a.high * b.low + a.low * b.high));
}

Pair divide(Pair a, Pair b) {
  const double quotient = a.high / b.high;
  const Pair back = two_product(quotient, b.high);
  const double rest = ((a.high - back.high) - back.low + (a.low - quotient * b.low)) / b.high;
  return quick_two_sum(quotient, rest);
}

/// 2^k for a normal result.
double power_of_two(int k) {
  return std::bit_cast<double>(static_cast<std::uint64_t>(k + 1023) << 52);
}

/// Logarithm of a positive finite x to about 66 bits: x = 2^k m with m in [sqrt(1/2), sqrt(2)),
/// log m = 2 atanh(s) = 2 s (1 + z/3 + z^2/5 + ...) with s = (m - 1) / (m + 1) and z = s^2. Only
/// the terms that matter at that precision are summed as pairs.
Pair log_pair(double x) {
  int k = 0;
  if (x < std::numeric_limits<double>::min()) {
    x *= 0x1p54;
    k = -54;
  }
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(x);
  k += static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0x000f'ffff'ffff'ffffU) | 0x3ff0'0000'0000'0000U);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++k;
  }
  const Pair s = divide({m - 1.0, 0.0}, two_sum(m, 1.0));
  const Pair z = multiply(s, s);
  double tail = 1.0 / 27.0;
  for (int odd = 25; odd >= 7; odd -= 2) {
    tail = tail * z.high + 1.0 / odd;
  }
  // 1/3 and 1/5 as pairs: the low parts are what the nearest doubles leave out.
  constexpr Pair kFifth{0.2, -1.1102230246251566e-17};
  constexpr Pair kThird{0.3333333333333333, 1.850371707708594e-17};
  Pair series = add(kFifth, multiply(z, {tail, 0.0}));
  series = add(kThird, multiply(z, series));
  series = add({1.0, 0.0}, multiply(z, series));
  const Pair log_m = multiply({2.0 * s.high, 2.0 * s.low}, series);
  if (k == 0) {
    return log_m;
  }
  const Pair scale = multiply({static_cast<double>(k), 0.0}, {kLn2High, kLn2Low});
  return add(scale, log_m);
}

/// exp(y.high + y.low), |y| < 1100: y = k ln 2 + r with |r| <= ln(2) / 2, and Taylor's series.
double exp_pair(Pair y) {
  const int k = static_cast<int>(y.high * kInverseLn2 + (y.high < 0 ? -0.5 : 0.5));
  const Pair shift = multiply({static_cast<double>(-k), 0.0}, {kLn2High, kLn2Low});
  const Pair r = add(y, shift);
  const double x = r.high;
  // (e^x - 1 - x) / x^2 to degree 12: the next term is below 2^-58 of the sum.
  constexpr double kInverseFactorial[] = {
      1.0 / 2,         1.0 / 6,           1.0 / 24,          1.0 / 120,     1.0 / 720,
      1.0 / 5040,      1.0 / 40320,       1.0 / 362880,      1.0 / 3628800, 1.0 / 39916800,
      1.0 / 479001600, 1.0 / 6227020800., 1.0 / 87178291200.};
  double tail = 0;
  for (int i = 12; i >= 0; --i) {
    tail = tail * x + kInverseFactorial[i];
  }
  const double value = 1.0 + (x + (r.low + x * x * tail));
  // In two steps, so that neither factor leaves the normal range.
  const int half = k / 2;
  return value * power_of_two(half) * power_of_two(k - half);
}

}  // namespace

double portable_log(double x) {
  if (!(x > 0)) {
    return x == 0 ? -kInfinity : kNan;
  }
  if (x == kInfinity) {
    return x;
  }
  const Pair result = log_pair(x);
  return result.high + result.low;
}

double portable_log2(double x) {
  return portable_log(x) / std::numbers::ln2;
}

double portable_exp(double x) {
  if (std::isnan(x)) {
    return x;
  }
  if (x > 710.0) {
    return kInfinity;
  }
  if (x < -746.0) {
    return 0.0;
  }
  return exp_pair({x, 0.0});
}

double portable_pow(double base, double exponent) {
  if (exponent == 0 || base == 1) {
    return 1.0;
  }
  if (std::isnan(exponent) || !(base >= 0)) {
    return kNan;
  }
  if (base == 0 || base == kInfinity) {
    return (base == 0) == (exponent > 0) ? 0.0 : kInfinity;
  }
  const Pair log_base = log_pair(base);
  const double estimate = log_base.high * exponent;
  if (estimate > 710.0) {
    return kInfinity;
  }
  if (estimate < -746.0) {
    return 0.0;
  }
  return exp_pair(multiply(log_base, {exponent, 0.0}));
}

}  // namespace dyn
