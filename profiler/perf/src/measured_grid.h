#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
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
  }

  bool empty() const { return values_.empty(); }
  double low(std::size_t d) const { return axes_[d].front(); }
  double high(std::size_t d) const { return axes_[d].back(); }
  std::size_t size(std::size_t d) const { return axes_[d].size(); }

  double at(std::array<double, N> x) const noexcept {
    std::array<double, N> fraction;
    std::array<std::size_t, N> stride;  // to the upper neighbour; 0 where there is none
    std::size_t base = 0;
    std::size_t step = 1;
    for (std::size_t k = 0; k < N; ++k) {
      const std::size_t d = N - 1 - k;
      const std::vector<double>& axis = axes_[d];
      std::size_t i = 0;
      while (i + 1 < axis.size() && axis[i + 1] <= x[d]) {
        ++i;
      }
      const bool inside = i + 1 < axis.size() && x[d] > axis[i];
      fraction[d] = inside ? (x[d] - axis[i]) / (axis[i + 1] - axis[i]) : 0;
      stride[d] = inside ? step : 0;
      base += i * step;
      step *= axis.size();
    }
    return interpolate<0>(base, fraction, stride);
  }

 private:
  template <std::size_t D>
  double interpolate(std::size_t base, const std::array<double, N>& fraction,
                     const std::array<std::size_t, N>& stride) const noexcept {
    if constexpr (D == N) {
      return values_[base];
    } else {
      const double lower = interpolate<D + 1>(base, fraction, stride);
      if (stride[D] == 0) {
        return lower;
      }
      const double upper = interpolate<D + 1>(base + stride[D], fraction, stride);
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
  std::vector<double> values_;
};

}  // namespace dyn::perf
