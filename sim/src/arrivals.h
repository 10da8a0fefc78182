#pragma once

#include <cstdint>
#include <vector>

#include "dyn/core/random.h"
#include "dyn/core/traffic.h"

namespace dyn::sim {

/// The arrivals of an open loop: a renewal process of mean gap 1 (Poisson, constant or gamma) run
/// through the inverse of the profile's cumulative rate, which keeps the process's character at
/// every rate (time change of a point process; Cinlar, Introduction to Stochastic Processes, 4.7).
/// A profile is piecewise constant: bursts have two pieces, a day 24, a ramp 64.
class Arrivals {
 public:
  /// `traffic.rate` is set.
  Arrivals(const Traffic& traffic, std::uint64_t seed);
  SimTime next();

 private:
  struct Piece {
    double seconds = 0;
    double rate = 0;  ///< per second
  };
  double gap();

  ArrivalProcess process_;
  double shape_;  ///< of gamma gaps
  double rate_;
  RandomStream stream_;
  std::vector<Piece> pieces_;  ///< empty: always the same rate
  bool repeats_ = true;        ///< otherwise the last piece goes on for ever
  std::size_t piece_ = 0;
  double left_ = 0;  ///< seconds of the piece at hand
  double now_ = 0;   ///< seconds
};

}  // namespace dyn::sim
