#pragma once

#include "monotone_grid.h"
#include "pricing.h"

namespace dyn::perf {

/// The time of attention operators by sums of a step that only grow with it, so that more tokens,
/// more context or another sequence never take less time, whatever the surfaces of the fits do.
/// Decode: by sequences and all their context. Prefill: of chunks by themselves, by query tokens
/// and their pairs of query and key, as of equal chunks; and what prior context adds, by its tokens
/// and by pairs across, as of one chunk, but at most `kMostAlone` times what it takes at the
/// device's full rate, which several chunks come near. Curves add up, so that any number of
/// operators costs one look-up of each of the three. Immutable; look-ups allocate nothing.
class AttentionCurve {
 public:
  AttentionCurve() = default;  ///< of no operator
  /// Of all executions in a step.
  explicit AttentionCurve(const AttentionCost& cost);

  AttentionCurve& operator+=(const AttentionCurve& other);

  /// Executions of prefill attention in a step.
  double layers() const { return layers_; }
  /// Seconds of all executions.
  double prefill(const StepView& view) const noexcept {
    if (view.prefill_tokens == 0) {
      return 0;
    }
    const double own = own_.at({view.prefill_tokens, view.own_pairs});
    const double across = view.pairs - view.own_pairs;
    return across > 0 ? own + prior_.at({across, view.prefill_context}) : own;
  }
  double decode(const StepView& view) const noexcept {
    return view.decode_sequences > 0 ? decode_.at({view.decode_sequences, view.decode_context}) : 0;
  }

 private:
  using Grid = MonotoneGrid<2, 1>;
  static constexpr double kMostAlone = 4;

  double layers_ = 0;
  Grid own_;
  Grid prior_;
  Grid decode_;
};

}  // namespace dyn::perf
