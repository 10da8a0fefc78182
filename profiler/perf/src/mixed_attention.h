#pragma once

#include <string>

#include "dyn/core/profile.h"
#include "monotone_grid.h"

namespace dyn::perf {

/// How long the grouped attention of one layer takes in a mixed step. Immutable; look-ups allocate
/// nothing.
class MixedAttention {
 public:
  MixedAttention() = default;  ///< unmeasured: prefill and decode one after the other
  /// From the profile's fit of attention_mixed: the engine's own, else another's.
  MixedAttention(const Profile& profile, const std::string& engine);

  bool measured() const { return !grid_.empty(); }
  const OperatorFit& fit() const { return fit_; }

  /// Seconds beside each other of what takes `prefill` and `decode` seconds alone, both above 0,
  /// with so many sequences that decode. Never less than either, and never less for more.
  double seconds(double prefill, double decode, double sequences) const noexcept {
    if (!measured()) {
      return prefill + decode;
    }
    const double together = grid_.at({prefill * kMicro, decode * kMicro, sequences});
    const double longer = prefill > decode ? prefill : decode;
    return together > longer ? together : longer;
  }

 private:
  static constexpr double kMicro = 1e6;

  using MixedGrid = MonotoneGrid<3, 0>;
  MixedGrid grid_;  // by microseconds alone and sequences
  OperatorFit fit_;
};

}  // namespace dyn::perf
