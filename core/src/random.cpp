#include "dyn/core/random.h"

#include <bit>
#include <cmath>
#include <utility>

#include "dyn/core/check.h"
#include "dyn/core/math.h"

namespace dyn {
namespace {

/// The output function of SplitMix64 (Steele, Lea, Flood 2014).
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

/// FNV-1a, 64 bits.
std::uint64_t hash_name(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  }
  return hash;
}

}  // namespace

RandomStream::RandomStream(std::uint64_t seed, std::string_view name) : state_{} {
  constexpr std::uint64_t kGamma = 0x9e3779b97f4a7c15U;
  std::uint64_t state = mix(mix(seed + kGamma) + hash_name(name));
  for (std::uint64_t& word : state_) {
    state += kGamma;
    word = mix(state);
  }
}

// xoshiro256** (Blackman, Vigna 2021).
std::uint64_t RandomStream::next() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

double RandomStream::uniform() {
  return static_cast<double>(next() >> 11) * 0x1p-53;
}

std::uint64_t RandomStream::below(std::uint64_t bound) {
  DYN_ASSERT(bound > 0, "an empty range has no number");
  const std::uint64_t skip = (0 - bound) % bound;  // 2^64 mod bound: what would bias the rest
  std::uint64_t value = next();
  while (value < skip) {
    value = next();
  }
  return value % bound;
}

double RandomStream::exponential(double mean) {
  return -mean * portable_log(1.0 - uniform());
}

// Marsaglia's polar method: two numbers a round, the second kept for the next call.
double RandomStream::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  double x = 0;
  double y = 0;
  double square = 0;
  do {
    x = 2.0 * uniform() - 1.0;
    y = 2.0 * uniform() - 1.0;
    square = x * x + y * y;
  } while (square >= 1.0 || square == 0.0);
  const double scale = std::sqrt(-2.0 * portable_log(square) / square);
  spare_ = y * scale;
  has_spare_ = true;
  return x * scale;
}

double RandomStream::lognormal(double mean, double deviation) {
  DYN_ASSERT(mean > 0 && deviation >= 0, "a lognormal variable is positive");
  const double ratio = deviation / mean;
  const double variance = portable_log(1.0 + ratio * ratio);
  return mean * portable_exp(std::sqrt(variance) * normal() - variance / 2.0);
}

// Marsaglia and Tsang, "A simple method for generating gamma variables", 2000.
double RandomStream::gamma(double shape, double scale) {
  DYN_ASSERT(shape > 0 && scale > 0, "a gamma variable has positive shape and scale");
  if (shape < 1.0) {
    const double boosted = gamma(shape + 1.0, scale);
    return boosted * portable_pow(1.0 - uniform(), 1.0 / shape);
  }
  const double d = shape - 1.0 / 3.0;
  const double c = 1.0 / std::sqrt(9.0 * d);
  for (;;) {
    const double x = normal();
    const double root = 1.0 + c * x;
    if (root <= 0.0) {
      continue;
    }
    const double v = root * root * root;
    const double u = 1.0 - uniform();
    if (portable_log(u) < 0.5 * x * x + d - d * v + d * portable_log(v)) {
      return d * v * scale;
    }
  }
}

}  // namespace dyn
