#include "mixed_attention.h"

#include <algorithm>
#include <array>

namespace dyn::perf {

namespace {

constexpr std::array<Quantity, 4> kAxes{Quantity::queries, Quantity::prior, Quantity::sequences,
                                        Quantity::context};
constexpr int kOctaves = 20;

std::size_t index_of(const SurfaceAxis& axis) {
  const auto found = std::find(kAxes.begin(), kAxes.end(), quantity_named(axis.quantity));
  return static_cast<std::size_t>(found - kAxes.begin());
}

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
  for (const CorrectionSurface& surface : best->surfaces) {
    const std::size_t x = index_of(surface.axes.front());
    const std::size_t y = index_of(surface.axes.back());
    if (surface.axes.size() > 2 || x >= kAxes.size() || y >= kAxes.size()) {
      continue;
    }
    const Surface compiled({surface});
    Quantities at;
    grids_.push_back({x, y, FactorGrid(kOctaves, kOctaves, [&](double first, double second) {
                        at[kAxes[x]] = first;
                        at[kAxes[y]] = second;
                        return compiled.factor(at);
                      })});
  }
}

}  // namespace dyn::perf
