#include "surface.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "dyn/core/error.h"
#include "dyn/core/math.h"

namespace dyn::perf {

namespace {

constexpr std::array<const char*, kQuantities> kNames{
    "tokens",        "n",       "k",      "queries",  "context",
    "sequences",     "streams", "heads",  "kv_group", "rows",
    "local_experts", "ranks",   "hidden", "width",    "bytes"};

double exp2_of(double x) {
  return portable_exp(x * std::numbers::ln2);
}

}  // namespace

Quantity quantity_named(const std::string& name) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  return static_cast<Quantity>(found - kNames.begin());
}

Surface::Surface(const CorrectionSurface& surface) : values_(surface.log2_factors) {
  for (const SurfaceAxis& axis : surface.axes) {
    Axis& out = axes_.emplace_back();
    out.quantity = quantity_named(axis.quantity);
    if (static_cast<std::size_t>(out.quantity) == kQuantities) {
      throw Error(ErrorKind::bad_input,
                  "a surface of the profile has an axis for '" + axis.quantity +
                      "', which this version does not know",
                  "make the profile again with this version");
    }
    for (const double knot : axis.knots) {
      out.log2_knots.push_back(portable_log2(knot));
    }
  }
  std::size_t stride = 1;
  for (std::size_t i = axes_.size(); i-- > 0;) {
    axes_[i].stride = stride;
    stride *= axes_[i].log2_knots.size();
  }
}

double Surface::factor(const Quantities& at) const noexcept {
  if (values_.empty()) {
    return 1;
  }
  // The corners of the cell around the point, with their weights.
  constexpr std::size_t kMaxAxes = kQuantities;
  std::array<std::size_t, kMaxAxes> step{};
  std::array<double, kMaxAxes> share{};
  std::size_t base = 0;
  for (std::size_t i = 0; i < axes_.size(); ++i) {
    const Axis& axis = axes_[i];
    const std::vector<double>& knots = axis.log2_knots;
    const double x = portable_log2(std::max(at[axis.quantity], 1e-9));
    if (knots.size() == 1 || x <= knots.front()) {
      continue;
    }
    if (x >= knots.back()) {
      base += (knots.size() - 1) * axis.stride;
      continue;
    }
    const auto above = std::upper_bound(knots.begin(), knots.end(), x) - knots.begin();
    const auto k = static_cast<std::size_t>(above) - 1;
    base += k * axis.stride;
    step[i] = axis.stride;
    share[i] = (x - knots[k]) / (knots[k + 1] - knots[k]);
  }
  double sum = 0;
  for (std::size_t corner = 0; corner < std::size_t{1} << axes_.size(); ++corner) {
    double weight = 1;
    std::size_t index = base;
    for (std::size_t i = 0; i < axes_.size() && weight > 0; ++i) {
      const bool upper = (corner >> i & 1) != 0;
      weight *= upper ? share[i] : 1 - share[i];
      index += upper ? step[i] : 0;
    }
    if (weight > 0) {
      sum += weight * values_[index];
    }
  }
  return exp2_of(sum);
}

FactorGrid::FactorGrid(int x_octaves, int y_octaves,
                       const std::function<double(double, double)>& factor)
    : x_steps_(static_cast<std::size_t>(x_octaves) * 2 + 1),
      y_steps_(static_cast<std::size_t>(y_octaves) * 2 + 1) {
  const auto value = [](std::size_t step) {
    return std::bit_cast<double>(static_cast<std::uint64_t>(step + 1023 * 2) << 51);
  };
  factors_.reserve(x_steps_ * y_steps_);
  for (std::size_t x = 0; x < x_steps_; ++x) {
    for (std::size_t y = 0; y < y_steps_; ++y) {
      factors_.push_back(static_cast<float>(factor(value(x), value(y))));
    }
  }
}

}  // namespace dyn::perf
