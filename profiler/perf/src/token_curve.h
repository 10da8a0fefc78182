#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace dyn::perf {

/// Seconds by a count (tokens, sequences), as a flat table: every whole number up to kExact, then
/// 16 steps an octave up to 2^20, linear between and beyond. Curves add up point by point, so
/// that a sum of curves costs one look-up. Never decreasing.
class TokenCurve {
 public:
  static constexpr std::size_t kExact = 512;  ///< a power of two

  /// Zero everywhere.
  TokenCurve();
  /// Samples `seconds` at the grid's points (n >= 1; 0 at n = 0), raised where it would decrease.
  explicit TokenCurve(const std::function<double(std::int64_t)>& seconds);

  TokenCurve& operator+=(const TokenCurve& other);
  TokenCurve& operator*=(double factor);

  /// Seconds at `n` >= 0; n need not be whole.
  double at(double n) const noexcept {
    if (n < static_cast<double>(kExact)) {
      const auto i = static_cast<std::size_t>(n);
      const double fraction = n - static_cast<double>(i);
      return seconds_[i] + fraction * (seconds_[i + 1] - seconds_[i]);
    }
    // The exponent and the top four bits of the mantissa are the index, the rest the fraction.
    const auto bits = std::bit_cast<std::uint64_t>(n);
    const std::size_t step = static_cast<std::size_t>(bits >> 48) - kFirstStep;
    if (step >= kSteps) {
      return beyond(n);
    }
    const double fraction = static_cast<double>(bits & ((1ULL << 48) - 1)) * 0x1p-48;
    const std::size_t i = kExact + step;
    return seconds_[i] + fraction * (seconds_[i + 1] - seconds_[i]);
  }

 private:
  static constexpr std::size_t kOctaves = 11;  // 2^9 to 2^20
  static constexpr std::size_t kSteps = kOctaves * 16;
  static constexpr std::size_t kFirstStep = (1023 + 9) * 16;  // top 16 bits of 512.0

  double beyond(double n) const noexcept;
  static double point(std::size_t index);

  std::vector<double> seconds_;  // kExact + kSteps + 1 of them
};

}  // namespace dyn::perf
