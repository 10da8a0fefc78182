#include "surface.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>

#include "dyn/core/error.h"
#include "dyn/core/math.h"

namespace dyn::perf {

namespace {

constexpr std::array<const char*, kQuantities> kNames{
    "tokens", "n",        "k",       "queries",       "context",      "sequences",  "streams",
    "heads",  "kv_group", "rows",    "local_experts", "ranks",        "hidden",     "width",
    "bytes",  "kv_heads", "experts", "per_token",     "prefill_time", "decode_time"};

double exp2_of(double x) {
  return portable_exp(x * std::numbers::ln2);
}

/// The knot below x and the share of the way to the next; held beyond the ends.
struct Place {
  std::size_t knot = 0;
  double share = 0;
};

Place place_of(const std::vector<double>& knots, double x) noexcept {
  if (knots.size() == 1 || x <= knots.front()) {
    return {};
  }
  if (x >= knots.back()) {
    return {knots.size() - 1, 0};
  }
  const auto above = std::upper_bound(knots.begin(), knots.end(), x) - knots.begin();
  const auto k = static_cast<std::size_t>(above) - 1;
  return {k, (x - knots[k]) / (knots[k + 1] - knots[k])};
}

}  // namespace

Quantity quantity_named(const std::string& name) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  return static_cast<Quantity>(found - kNames.begin());
}

Surface::Surface(const std::vector<CorrectionSurface>& surfaces) {
  for (const CorrectionSurface& surface : surfaces) {
    Part& part = parts_.emplace_back();
    part.values = surface.log2_hundredths;
    for (const SurfaceAxis& axis : surface.axes) {
      Axis& out = part.axes.emplace_back();
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
      if (std::find(used_.begin(), used_.end(), out.quantity) == used_.end()) {
        used_.push_back(out.quantity);
      }
    }
    std::size_t stride = 1;
    for (std::size_t i = part.axes.size(); i-- > 0;) {
      part.axes[i].stride = stride;
      stride *= part.axes[i].log2_knots.size();
    }
  }
}

Surface Surface::part_of(Quantity q, bool has) const {
  Surface result;
  for (const Part& part : parts_) {
    const bool found = std::any_of(part.axes.begin(), part.axes.end(),
                                   [q](const Axis& axis) { return axis.quantity == q; });
    if (found == has) {
      result.parts_.push_back(part);
    }
  }
  result.used_ = used_;
  return result;
}

Surface Surface::held(const Quantities& at, std::initializer_list<Quantity> open) const {
  const auto varies = [&open](Quantity q) {
    return std::find(open.begin(), open.end(), q) != open.end();
  };
  Surface result = *this;
  for (Part& part : result.parts_) {
    for (std::size_t i = part.axes.size(); i-- > 0;) {
      if (const Quantity q = part.axes[i].quantity; !varies(q)) {
        hold(part, i, portable_log2(std::max(at[q], 1e-9)));
      }
    }
  }
  std::erase_if(result.used_, [&varies](Quantity q) { return !varies(q); });
  return result;
}

/// Takes the axis away: what remains is the part at log2 `x` of that axis.
void Surface::hold(Part& part, std::size_t axis, double x) {
  const Place place = place_of(part.axes[axis].log2_knots, x);
  const std::size_t stride = part.axes[axis].stride;
  const std::size_t block = stride * part.axes[axis].log2_knots.size();
  std::vector<double> values;
  values.reserve(part.values.size() / part.axes[axis].log2_knots.size());
  for (std::size_t start = 0; start < part.values.size(); start += block) {
    for (std::size_t i = 0; i < stride; ++i) {
      const double* const low = &part.values[start + place.knot * stride + i];
      values.push_back(place.share > 0 ? (1 - place.share) * low[0] + place.share * low[stride]
                                       : low[0]);
    }
  }
  part.values = std::move(values);
  for (std::size_t i = 0; i < axis; ++i) {
    part.axes[i].stride /= part.axes[axis].log2_knots.size();
  }
  part.axes.erase(part.axes.begin() + static_cast<std::ptrdiff_t>(axis));
}

double Surface::beyond(Quantity q, double value) const noexcept {
  const double x = portable_log2(std::max(value, 1e-9));
  double most = 0;
  for (const Part& part : parts_) {
    for (const Axis& axis : part.axes) {
      if (axis.quantity == q) {
        most = std::max({most, axis.log2_knots.front() - x, x - axis.log2_knots.back()});
      }
    }
  }
  return most < 1e-6 ? 0 : most;
}

std::vector<const Surface::Axis*> Surface::axes_of(Quantity q) const {
  std::vector<const Axis*> axes;
  for (const Part& part : parts_) {
    for (const Axis& axis : part.axes) {
      if (axis.quantity == q) {
        axes.push_back(&axis);
      }
    }
  }
  return axes;
}

bool Surface::measured_experts(double experts, int fewest_gpus) const {
  constexpr double kSame = 1e-6;  // octaves
  const double x = portable_log2(std::max(experts, 1.0));
  const std::vector<const Axis*> axes = axes_of(Quantity::experts);
  if (!axes.empty()) {
    return std::any_of(axes.begin(), axes.end(), [x](const Axis* axis) {
      return std::any_of(axis->log2_knots.begin(), axis->log2_knots.end(),
                         [x](double knot) { return std::abs(knot - x) < kSame; });
    });
  }
  const std::vector<const Axis*> local = axes_of(Quantity::local_experts);
  return local.empty() ||
         std::abs(local.front()->log2_knots.back() + portable_log2(fewest_gpus) - x) < kSame;
}

double Surface::factor(const Quantities& at) const noexcept {
  if (parts_.empty()) {
    return 1;
  }
  Logarithms logarithms{};
  for (const Quantity q : used_) {
    logarithms[static_cast<std::size_t>(q)] = portable_log2(std::max(at[q], 1e-9));
  }
  double sum = 0;
  for (const Part& part : parts_) {
    sum += value(part, logarithms);
  }
  return exp2_of(0.01 * sum);
}

double Surface::value(const Part& part, const Logarithms& at) noexcept {
  // The corners of the cell around the point, with their weights.
  std::array<std::size_t, kQuantities> step{};
  std::array<double, kQuantities> share{};
  std::size_t base = 0;
  for (std::size_t i = 0; i < part.axes.size(); ++i) {
    const Axis& axis = part.axes[i];
    const Place place = place_of(axis.log2_knots, at[static_cast<std::size_t>(axis.quantity)]);
    base += place.knot * axis.stride;
    step[i] = place.share > 0 ? axis.stride : 0;
    share[i] = place.share;
  }
  double sum = 0;
  for (std::size_t corner = 0; corner < std::size_t{1} << part.axes.size(); ++corner) {
    double weight = 1;
    std::size_t index = base;
    for (std::size_t i = 0; i < part.axes.size() && weight > 0; ++i) {
      const bool upper = (corner >> i & 1) != 0;
      weight *= upper ? share[i] : 1 - share[i];
      index += upper ? step[i] : 0;
    }
    if (weight > 0) {
      sum += weight * part.values[index];
    }
  }
  return sum;
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
