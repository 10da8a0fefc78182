#pragma once

#include "monotone_grid.h"
#include "pricing.h"

namespace dyn::perf {

/// The time of an attention operator by sums of a step that only grow with it, so that more tokens,
/// more context or another sequence never take less time, whatever the surfaces of the fit do.
/// Decode: by sequences and all their context. Prefill: by query tokens and by pairs of query and
/// key, where fewer pairs than one chunk of all tokens has mean several chunks, alike and without
/// prior context, and more mean one chunk with prior context; what several chunks have to read of
/// their contexts bounds the time from below. Immutable; look-ups allocate nothing.
class AttentionCurve {
 public:
  explicit AttentionCurve(const AttentionCost& cost);

  bool prefill() const { return prefill_; }
  bool mixes() const { return mixes_; }
  double count() const { return count_; }
  /// Seconds of one execution.
  double seconds(const StepView& view) const noexcept {
    if (!prefill_) {
      return view.decode_sequences > 0 ? grid_.at({view.decode_sequences, view.decode_context}) : 0;
    }
    if (view.prefill_tokens == 0) {
      return 0;
    }
    const double pairs =
        by_context_ ? view.pairs + pairs_of_context_ * view.prefill_context : view.own_pairs;
    const double seconds = grid_.at({view.prefill_tokens, pairs});
    const double reading = reading_fixed_ + reading_row_ * view.prefill_tokens +
                           reading_context_ * view.prefill_context;
    return seconds > reading ? seconds : reading;
  }

 private:
  bool prefill_ = false;
  bool mixes_ = false;
  bool by_context_ = true;  // prefill: its time depends on pairs of queries and keys
  double count_ = 0;
  double pairs_of_context_ = 0;  // pairs that compute as long as a token of prior context
  double reading_fixed_ = 0;
  double reading_row_ = 0;
  double reading_context_ = 0;
  MonotoneGrid<2> grid_;
};

}  // namespace dyn::perf
