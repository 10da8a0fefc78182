#pragma once

#include <chrono>
#include <cmath>

#include "dyn/core/quantity.h"

namespace dyn::serve {

/// The time that policies and engines of a server live in: nanoseconds since its start, `scale`
/// times as fast as the real clock. Immutable after construction.
class ServeClock {
 public:
  explicit ServeClock(double scale = 1) : scale_(scale), start_(Real::now()) {}

  using Real = std::chrono::steady_clock;

  SimTime now() const {
    const double elapsed = static_cast<double>(Duration(Real::now() - start_).count());
    return SimTime(Duration(static_cast<Duration::rep>(elapsed * scale_)));
  }
  /// The real time at which `now()` will have reached `t`.
  Real::time_point real(SimTime t) const {
    const double ns = static_cast<double>(t.time_since_epoch().count()) / scale_;
    return start_ + Duration(static_cast<Duration::rep>(std::ceil(ns)));
  }
  double scale() const { return scale_; }

 private:
  double scale_;
  Real::time_point start_;
};

}  // namespace dyn::serve
