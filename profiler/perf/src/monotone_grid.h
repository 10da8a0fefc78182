#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace dyn::perf {

/// Seconds over `N` quantities that only grow with a step, as a table: 2^`fine` steps an octave
/// from 1, linear between, and beyond the last step as between the last two. Never decreasing in
/// any quantity, since each value is raised to those below it. What is linear in each quantity is
/// kept exactly. Immutable; look-ups allocate nothing.
template <std::size_t N>
class MonotoneGrid {
 public:
  using Point = std::array<double, N>;

  MonotoneGrid() = default;  ///< 0 everywhere
  /// Samples `seconds(point)`, >= 0, at every combination of steps from 1 to 2^octaves[i].
  template <typename Seconds>
  MonotoneGrid(const std::array<int, N>& octaves, int fine, Seconds seconds) : fine_(fine) {
    std::size_t cells = 1;
    for (std::size_t i = N; i-- > 0;) {
      steps_[i] = (static_cast<std::size_t>(octaves[i]) << fine) + 1;
      strides_[i] = cells;
      cells *= steps_[i];
    }
    values_.resize(cells);
    for (std::size_t cell = 0; cell < cells; ++cell) {
      Point at;
      for (std::size_t i = 0; i < N; ++i) {
        at[i] = value_of(cell / strides_[i] % steps_[i]);
      }
      auto value = static_cast<float>(seconds(at));
      for (std::size_t i = 0; i < N; ++i) {
        if (cell / strides_[i] % steps_[i] > 0) {
          value = value > values_[cell - strides_[i]] ? value : values_[cell - strides_[i]];
        }
      }
      values_[cell] = value;
    }
  }

  bool empty() const { return values_.empty(); }

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

  double value_of(std::size_t step) const {
    return std::bit_cast<double>((step + (std::uint64_t{1023} << fine_)) << (52 - fine_));
  }
  Place place_of(double v, std::size_t steps) const noexcept {
    if (!(v > 1)) {
      return {};
    }
    // The exponent and the top bits of the mantissa are the step, the rest the share.
    const auto bits = std::bit_cast<std::uint64_t>(v);
    const auto step =
        static_cast<std::size_t>((bits >> (52 - fine_)) - (std::uint64_t{1023} << fine_));
    if (step + 1 >= steps) {
      const double low = value_of(steps - 2);
      return {steps - 2, (v - low) / (value_of(steps - 1) - low)};
    }
    const std::uint64_t rest = bits & ((std::uint64_t{1} << (52 - fine_)) - 1);
    return {step,
            static_cast<double>(rest) / static_cast<double>(std::uint64_t{1} << (52 - fine_))};
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

  int fine_ = 0;
  std::array<std::size_t, N> steps_{};
  std::array<std::size_t, N> strides_{};
  std::vector<float> values_;
};

}  // namespace dyn::perf
