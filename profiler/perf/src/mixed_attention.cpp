#include "mixed_attention.h"

#include "surface.h"

namespace dyn::perf {

namespace {

constexpr int kTimeOctaves = 23;  // microseconds, to eight seconds
constexpr int kSequenceOctaves = 9;
constexpr double kMicrosecond = 1e-6;

}  // namespace

MixedAttention::MixedAttention(const Profile& profile, const std::string& engine) {
  const OperatorFit* best = nullptr;
  for (const OperatorFit& fit : profile.operators) {
    if (fit.kind == OperatorKind::attention_mixed &&
        (best == nullptr || (fit.engine == engine && best->engine != engine))) {
      best = &fit;
    }
  }
  if (best == nullptr) {
    return;
  }
  fit_ = *best;
  const Surface surface(best->surfaces);
  Quantities at;
  grid_ = MixedGrid({kTimeOctaves, kTimeOctaves, kSequenceOctaves},
                    [&](const std::array<double, 3>& point) {
                      at[Quantity::prefill_time] = point[0];
                      at[Quantity::decode_time] = point[1];
                      at[Quantity::sequences] = point[2];
                      return (point[0] + point[1]) * kMicrosecond * surface.factor(at);
                    });
}

}  // namespace dyn::perf
