#include "zipf.h"

#include <algorithm>

#include "dyn/core/math.h"

namespace dyn::sim {

Zipf::Zipf(int count, double skew) {
  double sum = 0;
  for (int k = 1; k <= count; ++k) {
    sum += portable_exp(-skew * portable_log(k));
    up_to_.push_back(sum);
  }
}

std::uint32_t Zipf::at(double uniform) const {
  const double value = uniform * up_to_.back();
  const auto found = std::upper_bound(up_to_.begin(), up_to_.end() - 1, value);
  return static_cast<std::uint32_t>(found - up_to_.begin());
}

}  // namespace dyn::sim
