#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <vector>

#include "dyn/core/profile.h"

namespace dyn::perf {

/// What a surface may have axes for; the meaning of each is beside CorrectionSurface.
enum class Quantity : std::uint8_t {
  tokens,
  n,
  k,
  queries,
  context,
  sequences,
  streams,
  heads,
  kv_group,
  rows,
  local_experts,
  ranks,
  hidden,
  width,
  bytes,
  kv_heads,
  experts,
  per_token,
  prefill_time,
  decode_time,
};
inline constexpr std::size_t kQuantities = 20;

/// The quantities of one execution; those that do not apply may be anything.
class Quantities {
 public:
  Quantities() { values_.fill(1); }
  double& operator[](Quantity q) { return values_[static_cast<std::size_t>(q)]; }
  double operator[](Quantity q) const { return values_[static_cast<std::size_t>(q)]; }

 private:
  std::array<double, kQuantities> values_;
};

/// The quantity that a profile names so; `kQuantities` as a number where there is none such.
Quantity quantity_named(const std::string& name);

/// The surfaces of a fit, ready for look-ups. Immutable; shared by threads.
class Surface {
 public:
  Surface() = default;  ///< 1 everywhere
  /// Throws Error(bad_input) for a quantity that is unknown.
  explicit Surface(const std::vector<CorrectionSurface>& surfaces);

  bool empty() const { return parts_.empty(); }
  /// Those of the surfaces that have an axis for `q`, or those that have none.
  Surface with(Quantity q) const { return part_of(q, true); }
  Surface without(Quantity q) const { return part_of(q, false); }
  /// The same for operators that differ in the quantities of `open` alone: all others are as in
  /// `at`, so that a look-up asks for no logarithm of theirs.
  Surface held(const Quantities& at, std::initializer_list<Quantity> open) const;
  /// How many octaves `value` is beyond the knots of that quantity; 0 where it has no axis.
  double beyond(Quantity q, double value) const noexcept;
  /// Whether that many experts were measured, as far as the axes tell: one for them has a knot
  /// there; without one a single number was measured, whose largest share on one GPU (the last knot
  /// of local_experts) was that of a group of `fewest_gpus`.
  bool measured_experts(double experts, int fewest_gpus) const;
  /// 2^(sum of the corrections): each multilinear in the log2 of its quantities, held beyond the
  /// ends.
  double factor(const Quantities& at) const noexcept;

 private:
  struct Axis {
    Quantity quantity = Quantity::tokens;
    std::size_t stride = 0;
    std::vector<double> log2_knots;
  };
  struct Part {
    std::vector<Axis> axes;  // slowest first
    std::vector<double> values;
  };
  using Logarithms = std::array<double, kQuantities>;
  Surface part_of(Quantity q, bool has) const;
  /// The axes for `q`, of all parts.
  std::vector<const Axis*> axes_of(Quantity q) const;
  static void hold(Part& part, std::size_t axis, double x);
  static double value(const Part& part, const Logarithms& at) noexcept;

  std::vector<Part> parts_;
  std::vector<Quantity> used_;
};

/// A factor by two quantities, sampled so that a look-up needs no logarithm: two steps an octave
/// (at 2^i and 1.5 * 2^i), linear between, held beyond the ends. Allocates nothing.
class FactorGrid {
 public:
  FactorGrid() = default;  ///< 1 everywhere
  /// Samples `factor` at every combination of steps from 1 to 2^octaves of each quantity.
  FactorGrid(int x_octaves, int y_octaves, const std::function<double(double, double)>& factor);

  bool empty() const { return factors_.empty(); }

  double at(double x, double y) const noexcept {
    const Place px = place(x, x_steps_);
    const Place py = place(y, y_steps_);
    const float* corner = factors_.data() + px.index * y_steps_ + py.index;
    const std::size_t dx = px.index + 1 < x_steps_ ? y_steps_ : 0;
    const std::size_t dy = py.index + 1 < y_steps_ ? 1 : 0;
    const auto mix = [](double a, double b, double share) { return a + share * (b - a); };
    return mix(mix(corner[0], corner[dy], py.fraction),
               mix(corner[dx], corner[dx + dy], py.fraction), px.fraction);
  }

 private:
  struct Place {
    std::size_t index = 0;
    double fraction = 0;
  };
  static Place place(double v, std::size_t steps) noexcept {
    if (!(v > 1)) {
      return {};
    }
    // The exponent and the top bit of the mantissa are the index, the rest the fraction.
    const auto bits = std::bit_cast<std::uint64_t>(v);
    const std::size_t step = static_cast<std::size_t>(bits >> 51) - 1023 * 2;
    if (step + 1 >= steps) {
      return {steps - 1, 0};
    }
    return {step, static_cast<double>(bits & ((1ULL << 51) - 1)) * 0x1p-51};
  }

  std::size_t x_steps_ = 0;
  std::size_t y_steps_ = 0;
  std::vector<float> factors_;
};

}  // namespace dyn::perf
