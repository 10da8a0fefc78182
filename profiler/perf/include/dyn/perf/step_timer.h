#pragma once

#include <cstdint>

#include "dyn/core/quantity.h"

namespace dyn::perf {

/// What one engine step computes, as sums over its sequences; kept up to date in O(1) as
/// requests join, grow and leave. A chunk of q prompt tokens after `prior` tokens of context
/// contributes q, prior, q * prior, q * q.
struct StepBatch {
  std::int32_t prefill_sequences = 0;
  std::int32_t decode_sequences = 0;
  std::int32_t sampled = 0;          ///< sequences that yield a token in this step
  std::int64_t prefill_tokens = 0;   ///< sum of q
  std::int64_t prefill_context = 0;  ///< sum of prior
  std::int64_t prefill_cross = 0;    ///< sum of q * prior
  std::int64_t prefill_square = 0;   ///< sum of q * q
  std::int64_t decode_context = 0;   ///< sum of KV tokens that decoding sequences attend to
  /// Decoding sequences whose token is the last of a prompt: one token each, as an attention
  /// kernel sees it, though the engine calls it prefill.
  std::int32_t last_tokens = 0;
  std::int64_t last_context = 0;  ///< their part of decode_context

  std::int64_t tokens() const { return prefill_tokens + decode_sequences; }
  std::int32_t sequences() const { return prefill_sequences + decode_sequences; }
  bool empty() const { return sequences() == 0; }

  void add_prefill(std::int64_t q, std::int64_t prior, bool samples) {
    ++prefill_sequences;
    sampled += samples ? 1 : 0;
    prefill_tokens += q;
    prefill_context += prior;
    prefill_cross += q * prior;
    prefill_square += q * q;
  }
  /// `context` counts the token being computed.
  void add_decode(std::int64_t context) {
    ++decode_sequences;
    ++sampled;
    decode_context += context;
  }
  /// A prompt of which only the last token is computed, which yields a token.
  void add_last_token(std::int64_t context) {
    add_decode(context);
    ++last_tokens;
    last_context += context;
  }
};

/// How long an engine step takes. Implementations are immutable and may be shared by threads.
class StepTimer {
 public:
  virtual ~StepTimer() = default;

  /// Time of one whole step, host time included; > 0 for a non-empty batch. Allocates nothing.
  virtual Duration step_time(const StepBatch& batch) const noexcept = 0;

  /// Time that the frontend adds to every request before its first token.
  virtual Duration frontend_time() const noexcept { return Duration{0}; }
};

}  // namespace dyn::perf
