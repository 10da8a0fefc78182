#pragma once

#include <string>

namespace dyn {

/// Where a number comes from, best first. Combining numbers keeps the worst.
enum class Provenance { measured, interpolated, extrapolated, specification };

constexpr Provenance worst(Provenance a, Provenance b) {
  return a > b ? a : b;
}

/// A prediction with its 90 % interval. `low <= value <= high`, all in the unit of the value.
struct Estimate {
  double value = 0;
  double low = 0;
  double high = 0;
  Provenance provenance = Provenance::specification;
};

}  // namespace dyn
