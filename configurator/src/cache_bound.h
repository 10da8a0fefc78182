#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dyn/core/plan.h"

namespace dyn::configurator {

/// What one engine of a pool has room for, where layers of the model keep KV in different ways:
/// requests as long as it takes, while they decode.
struct CacheBound {
  /// What such a request takes of what there is of a kind.
  struct Part {
    std::string_view kind;  ///< full_attention, windows or states
    std::int64_t each = 0;  ///< blocks, or states
    std::int64_t total = 0;
  };
  WorkerRole role = WorkerRole::aggregated;
  std::int64_t tokens = 0;    ///< of a request
  std::int64_t requests = 0;  ///< at once, at least one
  std::string_view bound_by;  ///< one of the kinds, or max_num_seqs
  bool shared = false;        ///< all parts are blocks of one pool, as in vLLM
  std::vector<Part> parts;
};

/// Those of the plan's pools whose engines have such layers apart: vLLM's groups, which share one
/// pool, and SGLang's pools. What takes most of a shared one bounds it.
std::vector<CacheBound> cache_bounds(const Plan& plan);

/// The same in a line, such as `states of 12 sequences; 12 requests of 40960 tokens run at once,
/// bounded by the states`.
std::string to_text(const CacheBound& bound);

const char* role_text(WorkerRole role);

}  // namespace dyn::configurator
