#pragma once

#include <cstdint>
#include <vector>

#include "dyn/kvbm/block_hash.h"

namespace dyn::policy::test {

/// Blocks whose hashes are so many numbers from `first` on.
inline std::vector<kvbm::BlockHash> blocks(std::uint64_t first, std::uint64_t count) {
  std::vector<kvbm::BlockHash> result;
  for (std::uint64_t i = 0; i < count; ++i) {
    result.push_back(kvbm::BlockHash{first + i});
  }
  return result;
}

}  // namespace dyn::policy::test
