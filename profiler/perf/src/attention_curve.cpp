#include "attention_curve.h"

#include <algorithm>

namespace dyn::perf {

namespace {

constexpr int kSequenceOctaves = 13;
constexpr int kContextOctaves = 33;  // of all sequences that decode
constexpr int kTokenOctaves = 22;
constexpr int kPairOctaves = 43;
constexpr int kPriorOctaves = 25;

/// Equal chunks without prior context that have so many tokens and pairs. Fewer than one stands for
/// the longer chunk of which a step that is not there would be a part.
StepView chunks(double tokens, double pairs) {
  StepView v;
  v.prefill_tokens = tokens;
  v.own_pairs = std::max(pairs, tokens);
  v.pairs = v.own_pairs;
  v.prefill_sequences = tokens / std::max(1.0, 2 * v.pairs / tokens - 1);
  return v;
}

/// What prior context adds to the time of one chunk.
double added(const AttentionCost& cost, double queries, double prior) {
  StepView v = chunks(queries, 0.5 * queries * (queries + 1));
  const double without = attention_at(cost, v).seconds;
  v.prefill_context = prior;
  v.pairs += queries * prior;
  return std::max(0.0, attention_at(cost, v).seconds - without);
}

}  // namespace

AttentionCurve::AttentionCurve(const AttentionCost& cost)
    : prefill_(cost.prefill), mixes_(cost.mixes), count_(cost.count) {
  if (!prefill_) {
    own_ = AttentionGrid({kSequenceOctaves, kContextOctaves},
                         [&cost](const std::array<double, 2>& at) {
                           StepView v;
                           v.decode_sequences = at[0];
                           v.decode_context = std::max(at[0], at[1]);
                           return attention_at(cost, v).seconds;
                         });
    return;
  }
  own_ = AttentionGrid({kTokenOctaves, kPairOctaves}, [&cost](const std::array<double, 2>& at) {
    return attention_at(cost, chunks(at[0], at[1])).seconds;
  });
  prior_ = AttentionGrid({kPairOctaves, kPriorOctaves}, [&cost](const std::array<double, 2>& at) {
    return added(cost, std::max(1.0, at[0] / at[1]), at[1]);
  });
  most_pair_ = kMostAlone * (cost.compute_pair + cost.compute_index);
  most_context_ = kMostAlone * (cost.compute_context + cost.memory_context + cost.memory_index);
}

}  // namespace dyn::perf
