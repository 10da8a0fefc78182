#pragma once

#include <cstdint>
#include <vector>

namespace dyn::sim {

/// Zipf's law: the k-th of `count` things, from 1, is drawn in proportion to 1 / k^skew.
class Zipf {
 public:
  Zipf(int count, double skew);
  /// Which thing, from 0, a uniform number of [0, 1) stands for.
  std::uint32_t at(double uniform) const;

 private:
  std::vector<double> up_to_;
};

}  // namespace dyn::sim
