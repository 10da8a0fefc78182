#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
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
  heads,
  experts,
  active,
  ranks,
  hidden,
  width,
  bytes,
};
inline constexpr std::size_t kQuantities = 13;

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

/// A CorrectionSurface ready for look-ups. Immutable; shared by threads.
class Surface {
 public:
  Surface() = default;  ///< 1 everywhere
  /// Throws Error(bad_input) for a quantity that is unknown.
  explicit Surface(const CorrectionSurface& surface);

  bool empty() const { return values_.empty(); }
  /// 2^correction: multilinear in the log2 of each quantity, held beyond the ends.
  double factor(const Quantities& at) const noexcept;

 private:
  struct Axis {
    Quantity quantity = Quantity::tokens;
    std::size_t stride = 0;
    std::vector<double> log2_knots;
  };
  std::vector<Axis> axes_;  // slowest first
  std::vector<double> values_;
};

/// A factor by up to three quantities, sampled so that a look-up needs no logarithm: two steps an
/// octave (at 2^i and 1.5 * 2^i), linear between, held beyond the ends. Allocates nothing.
class FactorGrid {
 public:
  FactorGrid() = default;  ///< 1 everywhere
  /// Samples `factor` at every combination of steps from 1 to 2^octaves of each quantity.
  FactorGrid(const std::array<int, 3>& octaves,
             const std::function<double(double, double, double)>& factor);

  bool empty() const { return factors_.empty(); }

  double at(double x, double y, double z) const noexcept {
    if (factors_.empty()) {
      return 1;
    }
    const Place px = place(x, 0);
    const Place py = place(y, 1);
    const Place pz = place(z, 2);
    const float* corner =
        factors_.data() + px.index * strides_[0] + py.index * strides_[1] + pz.index * strides_[2];
    const std::size_t dx = px.index + 1 < steps_[0] ? strides_[0] : 0;
    const std::size_t dy = py.index + 1 < steps_[1] ? strides_[1] : 0;
    const std::size_t dz = pz.index + 1 < steps_[2] ? strides_[2] : 0;
    const auto mix = [](double a, double b, double share) { return a + share * (b - a); };
    const auto edge = [&](const float* p) { return mix(p[0], p[dz], pz.fraction); };
    const auto face = [&](const float* p) { return mix(edge(p), edge(p + dy), py.fraction); };
    return mix(face(corner), face(corner + dx), px.fraction);
  }

 private:
  struct Place {
    std::size_t index = 0;
    double fraction = 0;
  };
  Place place(double v, std::size_t axis) const noexcept {
    if (!(v > 1)) {
      return {};
    }
    // The exponent and the top bit of the mantissa are the index, the rest the fraction.
    const auto bits = std::bit_cast<std::uint64_t>(v);
    const std::size_t step = static_cast<std::size_t>(bits >> 51) - 1023 * 2;
    if (step + 1 >= steps_[axis]) {
      return {steps_[axis] - 1, 0};
    }
    return {step, static_cast<double>(bits & ((1ULL << 51) - 1)) * 0x1p-51};
  }

  std::array<std::size_t, 3> steps_{};
  std::array<std::size_t, 3> strides_{};
  std::vector<float> factors_;
};

}  // namespace dyn::perf
