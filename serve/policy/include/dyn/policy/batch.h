#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "dyn/core/id.h"
#include "dyn/core/quantity.h"
#include "dyn/kvbm/block_hash.h"
#include "dyn/kvbm/tiers.h"
#include "dyn/policy/adapters.h"
#include "dyn/policy/prompt_images.h"

namespace dyn::policy {

/// A request as one engine sees it.
struct EngineRequest {
  RequestId id;
  std::int64_t prompt_tokens = 0;      ///< >= 1
  std::int64_t max_output_tokens = 1;  ///< >= 1; exactly so many are made unless cancelled before
  kvbm::PromptBlocks blocks;    ///< full prompt blocks; must stay valid until the request leaves
  bool remote_prefill = false;  ///< decode role: the prompt's KV comes from a prefill worker
  int priority = 0;             ///< more is more urgent; heeded by QueuePolicy::priority
  kvbm::NextUses future{};      ///< of `blocks`, where it is known
  AdapterNumber adapter = kNoAdapter;
  PromptImages images{};  ///< that this engine is to encode; as `blocks`
};

/// A token (or the first and last of a run of them) that a step made.
struct TokenEvent {
  RequestId id;
  SimTime at;                 ///< end of the step
  std::int64_t produced = 0;  ///< output tokens of the request so far
  bool finished = false;
};

/// First admission of a request into a batch.
struct Admission {
  RequestId id;
  SimTime at;                      ///< start of the step
  std::int64_t cached_tokens = 0;  ///< prompt tokens found in this engine's cache, tiers included
  std::array<std::int64_t, 3> tier_tokens{};  ///< those of them that came from each tier
  Duration load_time{0};                      ///< waited for loads
};

/// What happened since the outcome was last cleared. The driver clears and reuses it.
struct Outcome {
  std::vector<Admission> admitted;
  /// Stepwise: every token. Fast-forward: the first, second and last of each request. A request
  /// of the prefill role makes its one token without an entry here; see `prefilled`.
  std::vector<TokenEvent> tokens;
  std::vector<RequestId> prefilled;  ///< prefill role: done, KV held until release_held()
  std::vector<RequestId> kv_wanted;  ///< decode role: destination reserved, transfer may begin
  std::vector<RequestId> preempted;  ///< one entry per preemption
  std::vector<kvbm::KvEvent> kv_events;
  /// Movements of KV between tiers that have begun; the driver says when they end.
  std::vector<kvbm::TierTransfer> tier_transfers;
  void clear();
  bool empty() const;
};

}  // namespace dyn::policy
