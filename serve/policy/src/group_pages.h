#pragma once

#include <cstdint>
#include <vector>

#include "dyn/kvbm/block_pool.h"

namespace dyn::policy {

/// What a request holds in the groups of layers that do not keep the whole context. Sliding groups
/// hold the blocks [first, end) of it, up to `named` by hash; linear ones a running state and the
/// states that the step in progress goes on from or has completed.
struct GroupPages {
  std::vector<kvbm::HeldBlocks> sliding;  ///< blocks [first, named), a group each
  std::int64_t first = 0;
  std::int64_t named = 0;                ///< at least first
  std::int64_t end = 0;                  ///< stale while decoding
  std::vector<kvbm::HeldBlocks> linear;  ///< states with a hash, a group each
  std::int64_t state_end = 0;            ///< where the last of these ends, in blocks
  std::int64_t running = 0;              ///< pages of the running state of each group
  std::int64_t junction = 0;             ///< blocks that others have and a linear group has not
  bool even = false;                     ///< decoding, and in the sums; `first` is stale then
};

}  // namespace dyn::policy
