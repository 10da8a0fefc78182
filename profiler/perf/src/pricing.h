#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "dyn/core/profile.h"
#include "operators.h"
#include "surface.h"
#include "token_curve.h"

namespace dyn::perf {

/// A correction factor by x, compiled so that a look-up needs no logarithm: four steps an octave.
class FactorCurve {
 public:
  FactorCurve() = default;  ///< 1 everywhere
  explicit FactorCurve(const std::vector<CorrectionPoint>& points);

  double at(double x) const noexcept {
    if (factors_.empty()) {
      return 1;
    }
    if (x < 1) {
      return factors_.front();
    }
    // The exponent and the top two bits of the mantissa are the index, the rest the fraction.
    const auto bits = std::bit_cast<std::uint64_t>(x);
    const std::size_t step = static_cast<std::size_t>(bits >> 50) - 1023 * 4;
    if (step + 1 >= factors_.size()) {
      return factors_.back();
    }
    const double fraction = static_cast<double>(bits & ((1ULL << 50) - 1)) * 0x1p-50;
    return factors_[step] + fraction * (factors_[step + 1] - factors_[step]);
  }

 private:
  static constexpr std::size_t kOctaves = 52;
  std::vector<double> factors_;  // empty: 1
};

/// `points` at x: linear in log2(x), held beyond the ends; 1 if there are none.
double correction_at(const std::vector<CorrectionPoint>& points, double x);

/// An attention operator ready to be sampled: seconds per unit of work, without a division.
struct AttentionCost {
  bool prefill = false;
  double count = 0;            ///< executions a step
  double compute_pair = 0;     ///< seconds of compute per query-key pair (decode: KV token)
  double compute_index = 0;    ///< the same, whatever the window
  double compute_context = 0;  ///< prefill: seconds of compute per token of prior context
  double compute_row = 0;      ///< seconds of compute per query token
  double memory_fixed = 0;     ///< seconds of memory of one execution
  double memory_context = 0;   ///< seconds of memory per KV token
  double memory_index = 0;     ///< the same, whatever the window
  double memory_row = 0;       ///< seconds of memory per query token
  double overhead = 0;
  double window = 0;   ///< tokens; 0 none
  bool mixes = false;  ///< prefill and decode of a step slow each other down (MixedAttention)
  FactorCurve factor;
  FactorGrid surface;  ///< by queries (decode: context) of one sequence, and sequences
  FactorGrid prior;    ///< prefill: by queries and prior context of one sequence
};

/// An operator with the constants of the device that apply to it.
struct PricedOperator {
  Operator op;
  double flop_rate = 1;  ///< usable flops per second
  double byte_rate = 1;  ///< usable bytes per second
  double overhead = 0;   ///< seconds, all launches of one execution
  std::vector<CorrectionPoint> correction;
  Surface surface;
  Provenance provenance = Provenance::specification;
  double relative_error = 0.5;
  std::string source;
};

/// Prices `op` with the fit of the profile that comes nearest to it (fit_choice.h). What is not
/// measured as it is used here is marked extrapolated and its interval widened; without any fit,
/// cautious defaults are used and marked specification.
PricedOperator price(const Operator& op, const Profile& profile, const std::string& engine);

/// What a surface of this operator is asked for at n tokens (or sampled sequences).
Quantities quantities_of(const Operator& op, double n);

/// What bounds one execution.
struct Roofline {
  double compute = 0;
  double memory = 0;   ///< of the network for collectives
  double seconds = 0;  ///< corrected, overhead included
  double overhead = 0;
};

/// One execution at n tokens (or sampled sequences); not for attention.
Roofline roofline_at(const PricedOperator& op, double n);

/// The sums of a step that one pipeline micro-batch meets.
struct StepView {
  double tokens = 0;
  double sampled = 0;
  double prefill_sequences = 0;
  double prefill_tokens = 0;
  double prefill_context = 0;
  double pairs = 0;      ///< query-key pairs of causal prefill attention
  double own_pairs = 0;  ///< of these, those whose key is of the same chunk
  double decode_sequences = 0;
  double decode_context = 0;
};

AttentionCost attention_cost(const PricedOperator& op);

/// One execution of an attention operator. Allocates nothing.
Roofline attention_at(const AttentionCost& cost, const StepView& view) noexcept;

}  // namespace dyn::perf
