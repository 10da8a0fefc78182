#include "surface_grid.h"

namespace dyn::profiler {
namespace {

constexpr std::size_t kMostMeasured = 80;

/// The values that training samples have, rising; thinned evenly where there are too many.
std::vector<double> measured_values(std::size_t quantity,
                                    const std::vector<SurfaceSample>& samples) {
  std::vector<double> values;
  for (const SurfaceSample& s : samples) {
    if (!held_out(s)) {
      values.push_back(s.at[quantity]);
    }
  }
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  if (values.size() <= kMostMeasured) {
    return values;
  }
  std::vector<double> thinned;
  for (std::size_t i = 0; i < kMostMeasured; ++i) {
    thinned.push_back(values[i * (values.size() - 1) / (kMostMeasured - 1)]);
  }
  return thinned;
}

/// The knots within [low, high], and its ends: what is beyond them was not measured.
std::vector<double> knots_within(const std::vector<double>& knots, double low, double high) {
  std::vector<double> kept;
  for (const double knot : knots) {
    if (knot > low && knot < high) {
      kept.push_back(knot);
    }
  }
  if (low > 0) {
    kept.insert(kept.begin(), low);
  }
  if (high > low) {
    kept.push_back(high);
  }
  return kept;
}

}  // namespace

Grid cut(const std::vector<DesignAxis>& axes, const std::vector<SurfaceSample>& samples) {
  Grid grid;
  for (const DesignAxis& axis : axes) {
    const std::vector<double> values = measured_values(axis.quantity, samples);
    std::vector<double> knots =
        axis.knots.empty() ? values : knots_within(axis.knots, values.front(), values.back());
    if (values.size() > 1 && knots.size() > 1) {
      grid.axes.push_back({axis.quantity, std::move(knots)});
    } else if (axes.size() > 2 && values.front() > 0) {
      grid.axes.push_back({axis.quantity, {values.front()}});
    } else if (&axis == &axes.front() && axes.size() == 2) {
      return {};
    }
  }
  return grid;
}

}  // namespace dyn::profiler
