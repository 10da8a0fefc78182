#pragma once

#include <algorithm>
#include <cstdint>

#include "dyn/core/model_spec.h"

namespace dyn::perf {

/// What a worker that goes on with a prompt has to receive of what another one computed of it, in
/// bytes that reach all its GPUs together. Layers that keep the whole context need all that is
/// missing; those with a sliding window no more than the last window of it; linear ones a state,
/// whose size is constant. So send vLLM's NIXL connector (get_sw_clipped_blocks, 0.15 and later; to
/// whole blocks, which is left out here) and SGLang (disaggregation/prefill.py, 0.5: the last
/// window's pages and one Mamba state, with the last chunk).
struct SentKv {
  Bytes per_token{0};         ///< of layers that need all that is missing
  Bytes window_per_token{0};  ///< of layers that need a window of it
  std::int64_t window = 0;    ///< tokens
  Bytes per_sequence{0};      ///< states

  /// What is sent where the last `tokens` (>= 0) tokens of a prompt are missing.
  Bytes of(std::int64_t tokens) const { return Bytes(sum<std::int64_t>(tokens)); }
  /// The same for a mean.
  double of_mean(double tokens) const { return sum<double>(tokens); }
  /// Of this what is known before the prompt's end is: all but windows and states.
  Bytes early(std::int64_t tokens) const { return per_token * tokens; }
  /// The same where a token of the layers that keep the whole context takes `bytes` instead of
  /// `own`; where `own` is 0 that is all that is sent.
  SentKv scaled(Bytes bytes, Bytes own) const;
  bool operator==(const SentKv&) const = default;

 private:
  template <class T>
  T sum(T tokens) const {
    return tokens <= 0 ? T(0)
                       : tokens * static_cast<T>(per_token.count()) +
                             std::min(tokens, static_cast<T>(window)) *
                                 static_cast<T>(window_per_token.count()) +
                             static_cast<T>(per_sequence.count());
  }
};

/// For a worker of `tensor` GPUs a stage. Each rank that keeps a copy receives one: with more ranks
/// than KV heads, heads are replicated; a latent (MLA) is on every rank. With `keeps_windows` the
/// worker keeps the whole context in layers with windows, too, and receives all of it.
SentKv sent_kv(const ModelSpec& model, Precision kv, int tensor, bool keeps_windows);

/// What a block below the device has of each token, all ranks together and each value once: with
/// `keeps_windows` of all layers, and else of those that keep the whole context, or of all where
/// there is none.
Bytes stored_per_token(const ModelSpec& model, Precision kv, bool keeps_windows);

}  // namespace dyn::perf
