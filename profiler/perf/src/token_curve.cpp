#include "token_curve.h"

#include <algorithm>

namespace dyn::perf {

double TokenCurve::point(std::size_t index) {
  if (index <= kExact) {
    return static_cast<double>(index);
  }
  return std::bit_cast<double>(static_cast<std::uint64_t>(index - kExact + kFirstStep) << 48);
}

TokenCurve::TokenCurve() : seconds_(kExact + kSteps + 1, 0.0) {}

TokenCurve::TokenCurve(const std::function<double(std::int64_t)>& seconds) : TokenCurve() {
  for (std::size_t i = 1; i < seconds_.size(); ++i) {
    seconds_[i] = std::max(seconds_[i - 1], seconds(static_cast<std::int64_t>(point(i))));
  }
}

TokenCurve& TokenCurve::operator+=(const TokenCurve& other) {
  for (std::size_t i = 0; i < seconds_.size(); ++i) {
    seconds_[i] += other.seconds_[i];
  }
  return *this;
}

TokenCurve& TokenCurve::operator*=(double factor) {
  for (double& value : seconds_) {
    value *= factor;
  }
  return *this;
}

double TokenCurve::beyond(double n) const noexcept {
  // Half an octave back, so that one rough step does not set the slope.
  const std::size_t last = seconds_.size() - 1;
  const std::size_t before = last - 8;
  const double slope = (seconds_[last] - seconds_[before]) / (point(last) - point(before));
  return seconds_[last] + slope * (n - point(last));
}

}  // namespace dyn::perf
