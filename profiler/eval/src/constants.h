#pragma once

#include <array>
#include <string>

#include "dyn/eval/calibrate.h"

namespace dyn::eval {

/// Values of all constants: milliseconds, and factors.
using ConstantValues = std::array<double, kConstants>;

inline double& value_of(ConstantValues& values, Constant constant) {
  return values[static_cast<std::size_t>(constant)];
}
inline double value_of(const ConstantValues& values, Constant constant) {
  return values[static_cast<std::size_t>(constant)];
}
inline bool is_factor(Constant constant) {
  return constant == Constant::prefill_time || constant == Constant::decode_time;
}

/// Milliseconds from a client's send to the scheduler, at least: HTTP, tokenizer and queue. However
/// small, it decides something: a closed loop's next request is sent as a step ends and misses the
/// step that begins then, so it waits for a whole one.
inline constexpr double kLeastFrontend = 1;

/// The host constants in a profile of an engine's version (0, and the least of the frontend, where
/// it has none), and factors of 1.
ConstantValues constants_of(const Profile& profile, const EngineConfig& engine);

/// The host in a profile that they are of; null where it has none.
EngineHost* host_of(Profile& profile, const EngineConfig& engine);

/// The profile to calibrate: of a CPU without the corrections by size, which are those of dyn's own
/// kernels and no engine's (with them, predictions of an engine on a CPU are worse, not better).
Profile engine_profile(Profile profile);

/// The profile with these constants. Factors go into the corrections of operators: those that
/// only prefill or only decode has get theirs, multiplies and experts that of decoding up to 32
/// tokens a step and that of prefill from 256 on, the others that of decoding.
Profile with_constants(Profile profile, const EngineConfig& engine, const ConstantValues& values);

}  // namespace dyn::eval
