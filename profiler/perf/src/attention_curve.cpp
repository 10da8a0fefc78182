#include "attention_curve.h"

#include <algorithm>
#include <array>

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

AttentionCurve::AttentionCurve(const AttentionCost& cost) {
  using At = std::array<double, 2>;
  if (!cost.prefill) {
    decode_ = Grid({kSequenceOctaves, kContextOctaves}, [&cost](const At& at) {
      StepView v;
      v.decode_sequences = at[0];
      v.decode_context = std::max(at[0], at[1]);
      return cost.count * attention_at(cost, v).seconds;
    });
    return;
  }
  layers_ = cost.count;
  own_ = Grid({kTokenOctaves, kPairOctaves}, [&cost](const At& at) {
    return cost.count * attention_at(cost, chunks(at[0], at[1])).seconds;
  });
  const double most_pair = kMostAlone * (cost.compute_pair + cost.compute_index);
  const double most_context =
      kMostAlone * (cost.compute_context + cost.memory_context + cost.memory_index);
  prior_ = Grid({kPairOctaves, kPriorOctaves}, [&](const At& at) {
    const double alone = added(cost, std::max(1.0, at[0] / at[1]), at[1]);
    return cost.count * std::min(alone, most_pair * at[0] + most_context * at[1]);
  });
}

AttentionCurve& AttentionCurve::operator+=(const AttentionCurve& other) {
  layers_ += other.layers_;
  own_ += other.own_;
  prior_ += other.prior_;
  decode_ += other.decode_;
  return *this;
}

}  // namespace dyn::perf
