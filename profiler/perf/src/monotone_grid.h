#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace dyn::perf {

/// Seconds over `N` quantities that only grow with a step, as a table: 2^`Fine` steps an octave
/// from 1, linear between, held beyond the last. Never decreasing in
/// any quantity, since each value is lowered to those above it: what is too long for few of a
/// quantity, such as one sequence that leaves most of a device idle, would otherwise be a bound of
/// all steps that are larger. What is linear in each quantity is kept exactly. Immutable; look-ups
/// allocate nothing.
template <std::size_t N, int Fine>
class MonotoneGrid {
 public:
  using Point = std::array<double, N>;

  MonotoneGrid() = default;  ///< 0 everywhere
  /// Samples `seconds(point)`, >= 0, at every combination of steps from 1 to 2^octaves[i].
  template <typename Seconds>
  MonotoneGrid(const std::array<int, N>& octaves, Seconds seconds) {
    std::size_t cells = 1;
    for (std::size_t i = N; i-- > 0;) {
      steps_[i] = (static_cast<std::size_t>(octaves[i]) << Fine) + 1;
      strides_[i] = cells;
      cells *= steps_[i];
    }
    values_.resize(cells);
    for (std::size_t cell = cells; cell-- > 0;) {
      Point at;
      for (std::size_t i = 0; i < N; ++i) {
        at[i] = value_of(cell / strides_[i] % steps_[i]);
      }
      double value = seconds(at);
      for (std::size_t i = 0; i < N; ++i) {
        if (cell / strides_[i] % steps_[i] + 1 < steps_[i]) {
          value = std::min(value, values_[cell + strides_[i]]);
        }
      }
      values_[cell] = value;
    }
  }

  bool empty() const { return values_.empty(); }

  /// Adds point by point, so that a sum of grids costs one look-up. `other` is 0 everywhere or has
  /// the same steps.
  MonotoneGrid& operator+=(const MonotoneGrid& other) {
    if (empty()) {
      return *this = other;
    }
    for (std::size_t i = 0; i < other.values_.size(); ++i) {
      values_[i] += other.values_[i];
    }
    return *this;
  }

  double at(const Point& point) const noexcept {
    if (values_.empty()) {
      return 0;
    }
    std::array<double, N> share;
    std::size_t base = 0;
    for (std::size_t i = 0; i < N; ++i) {
      const Place place = place_of(point[i], steps_[i]);
      base += place.step * strides_[i];
      share[i] = place.share;
    }
    return mixed<0>(base, share);
  }

 private:
  struct Place {
    std::size_t step = 0;
    double share = 0;
  };

  static constexpr int kRest = 52 - Fine;  // bits of the mantissa below the steps
  static constexpr std::uint64_t kFirst = std::uint64_t{1023} << Fine;

  static double value_of(std::size_t step) {
    return std::bit_cast<double>((step + kFirst) << kRest);
  }
  static Place place_of(double v, std::size_t steps) noexcept {
    if (!(v > 1)) {
      return {};
    }
    // The exponent and the top bits of the mantissa are the step, the rest the share.
    const auto bits = std::bit_cast<std::uint64_t>(v);
    const auto step = static_cast<std::size_t>((bits >> kRest) - kFirst);
    if (step + 1 >= steps) {
      return {steps - 2, 1};
    }
    constexpr double kScale = 1 / static_cast<double>(std::uint64_t{1} << kRest);
    return {step, static_cast<double>(bits & ((std::uint64_t{1} << kRest) - 1)) * kScale};
  }
  template <std::size_t I>
  double mixed(std::size_t base, const std::array<double, N>& share) const noexcept {
    if constexpr (I == N) {
      return values_[base];
    } else {
      const double low = mixed<I + 1>(base, share);
      const double high = mixed<I + 1>(base + strides_[I], share);
      return low + share[I] * (high - low);
    }
  }

  std::array<std::size_t, N> steps_{};
  std::array<std::size_t, N> strides_{};
  std::vector<double> values_;
};

}  // namespace dyn::perf
