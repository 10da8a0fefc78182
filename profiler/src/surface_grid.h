#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include "surface_fit.h"

namespace dyn::profiler {

struct GridAxis {
  std::size_t quantity = 0;
  std::vector<double> knots;  ///< rising, above 0
};

/// A rectangular grid over some of the quantities, the last axis fastest.
struct Grid {
  std::vector<GridAxis> axes;

  std::size_t cells() const {
    std::size_t cells = 1;
    for (const GridAxis& axis : axes) {
      cells *= axis.knots.size();
    }
    return cells;
  }

  /// Calls `use(cell, weight)` for every corner around a point: multilinear in log2.
  template <typename Use>
  void for_corners(const std::array<double, kMaxQuantities>& at, Use use) const {
    std::array<std::size_t, kMaxQuantities> knot{};
    std::array<double, kMaxQuantities> share{};
    for (std::size_t d = 0; d < axes.size(); ++d) {
      const std::vector<double>& knots = axes[d].knots;
      const double x = at[axes[d].quantity];
      if (knots.size() == 1 || x <= knots.front()) {
        continue;
      }
      if (x >= knots.back()) {
        knot[d] = knots.size() - 1;
        continue;
      }
      const auto above = std::upper_bound(knots.begin(), knots.end(), x);
      knot[d] = static_cast<std::size_t>(above - knots.begin()) - 1;
      share[d] = std::log2(x / knots[knot[d]]) / std::log2(knots[knot[d] + 1] / knots[knot[d]]);
    }
    for (unsigned corner = 0; corner < (1U << axes.size()); ++corner) {
      std::size_t cell = 0;
      double weight = 1;
      for (std::size_t d = 0; d < axes.size() && weight > 0; ++d) {
        const bool upper = ((corner >> d) & 1) != 0;
        weight *= upper ? share[d] : 1 - share[d];
        cell = cell * axes[d].knots.size() + knot[d] + (upper ? 1 : 0);
      }
      if (weight > 0) {
        use(cell, weight);
      }
    }
  }
};

/// The grid of some axes over what the training samples reach: the knots within, and the least and
/// the most that was measured, or the measured values. An axis along which they do not change
/// has their one value for a knot where there are three axes or more, to tell what is beyond; else
/// it is left out, and so is a pair whose first axis is one.
Grid cut(const std::vector<DesignAxis>& axes, const std::vector<SurfaceSample>& samples);

}  // namespace dyn::profiler
