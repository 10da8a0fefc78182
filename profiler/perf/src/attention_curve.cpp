#include "attention_curve.h"

#include <algorithm>

namespace dyn::perf {

namespace {

constexpr int kFine = 2;  // steps an octave, as a power of two
constexpr int kSequenceOctaves = 13;
constexpr int kContextOctaves = 33;  // of all sequences
constexpr int kTokenOctaves = 20;
constexpr int kPairOctaves = 40;

/// A step of equal chunks that has so many query tokens, and pairs and prior context that compute
/// as long as `pairs` pairs.
StepView prefill_view(double tokens, double pairs, double pairs_of_context) {
  StepView v;
  v.prefill_tokens = tokens;
  const double own = 0.5 * tokens * (tokens + 1);
  if (pairs > own) {
    v.prefill_sequences = 1;
    v.prefill_context = (pairs - own) / (tokens + pairs_of_context);
    v.pairs = own + tokens * v.prefill_context;
  } else {
    const double queries = std::max(1.0, 2 * pairs / tokens - 1);
    v.prefill_sequences = tokens / queries;
    v.pairs = std::max(pairs, tokens);
  }
  return v;
}

}  // namespace

AttentionCurve::AttentionCurve(const AttentionCost& cost)
    : prefill_(cost.prefill), mixes_(cost.mixes), count_(cost.count) {
  if (!prefill_) {
    grid_ = MonotoneGrid<2>({kSequenceOctaves, kContextOctaves}, kFine,
                            [&cost](const std::array<double, 2>& at) {
                              StepView v;
                              v.decode_sequences = at[0];
                              v.decode_context = std::max(at[0], at[1]);
                              return attention_at(cost, v).seconds;
                            });
    return;
  }
  const double pair = cost.compute_pair + cost.compute_index;
  by_context_ = pair > 0;
  pairs_of_context_ = by_context_ ? cost.compute_context / pair : 0;
  grid_ =
      MonotoneGrid<2>({kTokenOctaves, kPairOctaves}, kFine, [&](const std::array<double, 2>& at) {
        const StepView v = prefill_view(at[0], at[1], pairs_of_context_);
        return attention_at(cost, v).seconds;
      });
  if (cost.window == 0) {
    reading_fixed_ = cost.memory_fixed + cost.overhead;
    reading_row_ = cost.memory_row;
    reading_context_ = cost.memory_context + cost.memory_index;
  }
}

}  // namespace dyn::perf
