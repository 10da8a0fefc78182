#pragma once

#include <cstdint>
#include <string_view>

namespace dyn {

/// A named stream of random numbers: equal seed and name give equal numbers on every machine, and
/// streams of different names are independent, so that changing one cause of randomness leaves
/// the others as they were (common random numbers). xoshiro256**, seeded by SplitMix64 from a
/// hash of the name. The samplers are our own and use the portable functions of math.h, since
/// neither std::*_distribution nor glibc's log is the same everywhere.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::string_view name);

  std::uint64_t next();
  double uniform();                          ///< [0, 1), 53 bits
  std::uint64_t below(std::uint64_t bound);  ///< [0, bound), unbiased; bound > 0
  double exponential(double mean);
  double normal();                                  ///< mean 0, deviation 1
  double lognormal(double mean, double deviation);  ///< of the variable itself, not of its log
  double gamma(double shape, double scale);

 private:
  std::uint64_t state_[4];
  double spare_ = 0;
  bool has_spare_ = false;
};

}  // namespace dyn
