#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "dyn/kvbm/flat_map.h"
#include "dyn/kvbm/tier_store.h"
#include "dyn/sim/workload.h"

namespace dyn::test {

/// For each block of a workload's prompts, the number of the next request that has it.
inline std::vector<std::uint64_t> next_uses(const sim::Workload& workload) {
  std::vector<std::uint64_t> next(workload.blocks.size(), kvbm::BlockUse::kNever);
  kvbm::FlatMap<std::uint64_t> last;
  for (std::size_t r = workload.requests.size(); r-- > 0;) {
    const sim::WorkloadRequest& request = workload.requests[r];
    for (std::uint32_t b = 0; b < request.block_count; ++b) {
      const std::size_t at = request.first_block + b;
      const auto [number, inserted] =
          last.insert(static_cast<std::uint64_t>(workload.blocks[at]), r);
      next[at] = inserted ? kvbm::BlockUse::kNever : *number;
      *number = r;
    }
  }
  return next;
}

struct CacheHits {
  double blocks = 0;  ///< of all blocks, those found; a block counts only if all before it do
  double tokens = 0;  ///< the same of prompt tokens
};

/// Runs the prompts of a workload, one after the other, through a cache of `capacity` of its
/// blocks (partial last ones included): a request finds the leading blocks that are inside; then
/// its others come in.
inline CacheHits replay_cache(const sim::Workload& workload, std::uint64_t capacity,
                              EvictionKind kind) {
  const std::vector<std::uint64_t> next = next_uses(workload);
  kvbm::TierStore store(capacity, kind);
  std::vector<kvbm::TierStore::Left> left;
  std::int64_t found_blocks = 0;
  std::int64_t found_tokens = 0;
  std::int64_t tokens = 0;
  std::vector<kvbm::Entry> inside;
  for (const sim::WorkloadRequest& request : workload.requests) {
    const auto use = [&](std::uint32_t i) {
      const std::size_t at = request.first_block + i;
      return kvbm::BlockUse{workload.blocks[at],
                            i > 0 ? workload.blocks[at - 1] : kvbm::BlockHash{}, i, next[at]};
    };
    bool leading = true;
    std::int64_t run = 0;
    for (std::uint32_t i = 0; i < request.block_count; ++i) {
      const kvbm::Entry entry = store.readable(use(i).hash);
      leading = leading && entry != kvbm::kNoEntry;
      run += leading ? 1 : 0;
      if (entry != kvbm::kNoEntry) {
        store.pin(entry);
        inside.push_back(entry);
      }
    }
    found_blocks += run;
    found_tokens += std::min(run * workload.block_tokens, request.input_tokens);
    tokens += request.input_tokens;
    for (std::uint32_t i = request.block_count; i-- > 0;) {
      if (store.touch(use(i)) == 0) {
        const kvbm::Entry entry = store.reserve(use(i), 1, left);
        if (entry != kvbm::kNoEntry) {
          store.fill(entry);
        }
      }
    }
    for (const kvbm::Entry entry : inside) {
      store.unpin(entry);
    }
    inside.clear();
    left.clear();
  }
  store.check_invariants();
  return {static_cast<double>(found_blocks) / static_cast<double>(workload.blocks.size()),
          static_cast<double>(found_tokens) / static_cast<double>(tokens)};
}

}  // namespace dyn::test
