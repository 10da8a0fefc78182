#pragma once

#include <optional>

#include "dyn/core/quantity.h"

namespace dyn {

/// Who starts the hand-over of a prompt's KV.
enum class HandOff {
  pull,  ///< the decode worker is chosen when the prompt is computed, and fetches its KV
  push,  ///< the decode worker is chosen first and makes room; the KV comes as it is computed
};

/// How a prompt gets from a prefill worker to a decode worker.
struct DisaggregationSpec {
  HandOff hand_off = HandOff::pull;
  bool overlap = true;  ///< push: layer by layer while the prompt is computed
  /// A prompt of which at most so many tokens are not cached at a decode worker is computed there.
  Tokens local_prefill{0};
  /// So is one of which at least this share is cached there.
  std::optional<double> local_cached_share;
  /// And any, while every prefill worker has at least so many prompts queued.
  std::optional<int> local_above_queued;
  /// A hand-over that takes longer is given up, and the request starts again.
  Duration transfer_timeout = std::chrono::seconds(60);
  bool operator==(const DisaggregationSpec&) const = default;

  bool ever_local() const {
    return local_prefill > Tokens(0) || local_cached_share || local_above_queued;
  }
};

}  // namespace dyn
