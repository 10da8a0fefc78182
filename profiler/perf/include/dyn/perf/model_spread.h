#pragma once

#include <string_view>

#include "dyn/core/profile.h"
#include "dyn/core/provenance.h"

namespace dyn::perf {

/// An interval of what was measured, as factors of what was predicted: low <= 1 <= high.
struct Spread {
  double low = 1;
  double high = 1;
};

/// How far runs were from what the latency model alone says of them: the mean time to first token,
/// and the mean time per output token, which is how long steps are.
struct ModelSpread {
  Spread ttft;
  Spread step;
};

/// The shortest intervals that hold 90 % of the measured runs of an engine with built-in profiles;
/// those of all engines for one that was not measured. 1 where the engine's constants in the
/// profile are measured, by `dyn profile calibrate`: then their own errors say it. Source: the
/// table "What the model alone leaves" of docs/accuracy.md.
ModelSpread model_spread(const Profile& profile, std::string_view engine,
                         std::string_view version = {});

/// An interval that this comes to: independent errors, whose logarithms add as squares.
Estimate widened(Estimate estimate, const Spread& by);

}  // namespace dyn::perf
