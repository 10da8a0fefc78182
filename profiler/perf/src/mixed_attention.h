#pragma once

#include <string>
#include <vector>

#include "dyn/core/profile.h"
#include "surface.h"

namespace dyn::perf {

/// How much longer the grouped attention of a mixed step takes than that of its prefill and its
/// decode one after the other. Immutable; look-ups allocate nothing.
class MixedAttention {
 public:
  MixedAttention() = default;  ///< unmeasured: 1
  /// From the profile's fit of attention_mixed: the engine's own, else another's. Surfaces of more
  /// than two quantities are not used.
  MixedAttention(const Profile& profile, const std::string& engine);

  bool measured() const { return !grids_.empty(); }
  const OperatorFit& fit() const { return fit_; }

  /// A chunk of `queries` tokens after `prior` ones, beside `sequences` of `context` tokens each.
  double factor(double queries, double prior, double sequences, double context) const noexcept {
    const double at[] = {queries, prior, sequences, context};
    double product = 1;
    for (const Pair& pair : grids_) {
      product *= pair.grid.at(at[pair.x], at[pair.y]);
    }
    return product;
  }

 private:
  struct Pair {
    std::size_t x = 0;
    std::size_t y = 0;
    FactorGrid grid;
  };
  std::vector<Pair> grids_;
  OperatorFit fit_;
};

}  // namespace dyn::perf
