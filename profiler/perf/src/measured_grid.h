#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace dyn::perf {

/// One measured point of a grid.
template <std::size_t N>
struct GridPoint {
  std::array<double, N> at{};
  double value = 0;
};

/// Values on a complete rectangular grid of measured points, multilinear between them and held
/// beyond the ends. Measurements may cover more points than a rectangle: the axis values that are
/// least often measured are left out until what remains is complete.
template <std::size_t N>
class MeasuredGrid {
 public:
  MeasuredGrid() = default;
  /// `points` must not be empty. Of repeated points the last counts.
  explicit MeasuredGrid(const std::vector<GridPoint<N>>& points) {
    for (std::size_t d = 0; d < N; ++d) {
      for (const GridPoint<N>& point : points) {
        axes_[d].push_back(point.at[d]);
      }
      std::sort(axes_[d].begin(), axes_[d].end());
      axes_[d].erase(std::unique(axes_[d].begin(), axes_[d].end()), axes_[d].end());
    }
    while (!fill(points)) {
      drop_least_measured(points);
    }
    std::size_t stride = 1;
    for (std::size_t d = N; d-- > 0;) {
      strides_[d] = stride;
      stride *= axes_[d].size();
      index_octaves(d);
      values_.resize(values_.size() + strides_[d], 0.0);  // above the last knots, and never counts
    }
  }

  bool empty() const { return values_.empty(); }
  double low(std::size_t d) const { return axes_[d].front(); }
  double high(std::size_t d) const { return high_[d]; }
  std::size_t size(std::size_t d) const { return axes_[d].size() - 1; }

  /// Of finite numbers. A dozen nanoseconds a dimension matter, so it branches on nothing but
  /// knots that share an octave.
  [[gnu::always_inline]] double at(const std::array<double, N>& x) const noexcept {
    std::array<double, N> fraction;
    std::size_t base = 0;
    for (std::size_t d = 0; d < N; ++d) {
      const double* const axis = axes_[d].data();
      std::size_t i = first_[d][octave(x[d])];
      while (axis[i + 1] <= x[d]) {
        ++i;
      }
      // Nothing below the first knot, and nothing beyond the last, whose neighbour is infinite.
      fraction[d] = std::max(0.0, x[d] - axis[i]) * per_width_[d][i];
      base += i * strides_[d];
    }
    return interpolate<0>(base, fraction);
  }

 private:
  static constexpr std::size_t kOctaves = 64;

  /// Of 2^n to 2^(n+1); the first for all below, the last for all beyond.
  static std::size_t octave(double x) noexcept {
    const auto exponent = static_cast<std::int64_t>(std::bit_cast<std::uint64_t>(x) >> 52) - 1023;
    return static_cast<std::size_t>(
        std::clamp<std::int64_t>(x > 1 ? exponent : 0, 0, kOctaves - 1));
  }

  /// Where to look for the knots of each octave; the axis ends at infinity then.
  void index_octaves(std::size_t d) {
    std::vector<double>& axis = axes_[d];
    high_[d] = axis.back();
    double begin = 1;
    for (std::uint32_t& first : first_[d]) {
      const auto above = std::upper_bound(axis.begin(), axis.end(), begin);
      first = static_cast<std::uint32_t>(std::max<std::ptrdiff_t>(above - axis.begin(), 1) - 1);
      begin *= 2;
    }
    first_[d][0] = 0;  // has all below 1, too
    axis.push_back(std::numeric_limits<double>::infinity());
    for (std::size_t i = 0; i + 1 < axis.size(); ++i) {
      per_width_[d].push_back(1 / (axis[i + 1] - axis[i]));
    }
  }

  template <std::size_t D>
  double interpolate(std::size_t base, const std::array<double, N>& fraction) const noexcept {
    if constexpr (D == N) {
      return values_[base];
    } else {
      const double lower = interpolate<D + 1>(base, fraction);
      const double upper = interpolate<D + 1>(base + strides_[D], fraction);
      return lower + fraction[D] * (upper - lower);
    }
  }

  /// Index of a point in the grid, or npos if one of its coordinates was left out.
  std::size_t index(const GridPoint<N>& point) const {
    std::size_t at = 0;
    for (std::size_t d = 0; d < N; ++d) {
      const auto found = std::lower_bound(axes_[d].begin(), axes_[d].end(), point.at[d]);
      if (found == axes_[d].end() || *found != point.at[d]) {
        return static_cast<std::size_t>(-1);
      }
      at = at * axes_[d].size() + static_cast<std::size_t>(found - axes_[d].begin());
    }
    return at;
  }

  bool fill(const std::vector<GridPoint<N>>& points) {
    std::size_t cells = 1;
    for (const std::vector<double>& axis : axes_) {
      cells *= axis.size();
    }
    values_.assign(cells, -1);
    for (const GridPoint<N>& point : points) {
      const std::size_t i = index(point);
      if (i != static_cast<std::size_t>(-1)) {
        values_[i] = point.value;
      }
    }
    return std::find(values_.begin(), values_.end(), -1.0) == values_.end();
  }

  /// Drops the axis value with the least share of its cells measured; the largest of equals.
  void drop_least_measured(const std::vector<GridPoint<N>>& points) {
    std::size_t cells = values_.size();
    std::array<std::vector<std::size_t>, N> counts;
    for (std::size_t d = 0; d < N; ++d) {
      counts[d].assign(axes_[d].size(), 0);
    }
    for (const GridPoint<N>& point : points) {
      if (index(point) == static_cast<std::size_t>(-1)) {
        continue;
      }
      for (std::size_t d = 0; d < N; ++d) {
        const auto found = std::lower_bound(axes_[d].begin(), axes_[d].end(), point.at[d]);
        ++counts[d][static_cast<std::size_t>(found - axes_[d].begin())];
      }
    }
    std::size_t worst_axis = 0;
    std::size_t worst_value = 0;
    double least = 2;
    for (std::size_t d = 0; d < N; ++d) {
      for (std::size_t i = 0; axes_[d].size() > 1 && i < axes_[d].size(); ++i) {
        const double share =
            static_cast<double>(counts[d][i] * axes_[d].size()) / static_cast<double>(cells);
        if (share <= least) {
          least = share;
          worst_axis = d;
          worst_value = i;
        }
      }
    }
    axes_[worst_axis].erase(axes_[worst_axis].begin() + static_cast<std::ptrdiff_t>(worst_value));
  }

  std::array<std::vector<double>, N> axes_;
  std::array<std::vector<double>, N> per_width_;  ///< 1 / (next knot - this one); 0 of the last
  std::array<std::size_t, N> strides_{};
  std::array<double, N> high_{};
  std::array<std::array<std::uint32_t, kOctaves>, N>
      first_{};  ///< by octave, where its knots begin
  std::vector<double> values_;
};

}  // namespace dyn::perf
