#pragma once

#include "monotone_grid.h"
#include "pricing.h"

namespace dyn::perf {

using AttentionGrid = MonotoneGrid<2, 1>;

/// The time of an attention operator by sums of a step that only grow with it, so that more tokens,
/// more context or another sequence never take less time, whatever the surfaces of the fit do.
/// Decode: by sequences and all their context. Prefill: of chunks by themselves, by query tokens
/// and their pairs of query and key, as of equal chunks; and what prior context adds, by its tokens
/// and by pairs across, as of one chunk, but at most `kMostAlone` times what it takes at the
/// device's full rate, which several chunks come near. Immutable; look-ups allocate nothing.
class AttentionCurve {
 public:
  explicit AttentionCurve(const AttentionCost& cost);

  bool prefill() const { return prefill_; }
  bool mixes() const { return mixes_; }
  double count() const { return count_; }
  /// Seconds of one execution.
  double seconds(const StepView& view) const noexcept {
    if (!prefill_) {
      return view.decode_sequences > 0 ? own_.at({view.decode_sequences, view.decode_context}) : 0;
    }
    if (view.prefill_tokens == 0) {
      return 0;
    }
    const double own = own_.at({view.prefill_tokens, view.own_pairs});
    const double across = view.pairs - view.own_pairs;
    if (!(across > 0)) {
      return own;
    }
    const double alone = prior_.at({across, view.prefill_context});
    const double most = most_pair_ * across + most_context_ * view.prefill_context;
    return own + (alone < most ? alone : most);
  }

 private:
  static constexpr double kMostAlone = 4;

  bool prefill_ = false;
  bool mixes_ = false;
  double count_ = 0;
  double most_pair_ = 0;
  double most_context_ = 0;
  AttentionGrid own_;
  AttentionGrid prior_;
};

}  // namespace dyn::perf
