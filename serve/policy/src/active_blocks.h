#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dyn/core/id.h"
#include "dyn/kvbm/block_hash.h"
#include "dyn/kvbm/flat_map.h"
#include "dyn/kvbm/prefix_index.h"

namespace dyn::policy {

/// The prompt blocks of the requests that are active at each worker, those that requests share
/// counted once. Every kStride-th block of a prompt stands for the kStride blocks up to it, so
/// that keeping the books costs an eighth; what differs by less than a stride counts as not
/// shared. Each worker's prompts form a tree; a request holds on to its deepest node.
class ActiveBlocks {
 public:
  static constexpr std::uint32_t kStride = 8;
  static constexpr std::uint32_t kNone = static_cast<std::uint32_t>(-1);

  ActiveBlocks(std::uint32_t workers, std::uint64_t max_blocks) : index_(workers, max_blocks) {}

  /// For each worker, how many leading strides of the prompt are active there.
  void overlaps(const kvbm::PromptBlocks& blocks, std::span<std::uint32_t> strides) {
    index_.leading_runs(blocks, strides, kStride);
  }
  struct Added {
    std::uint32_t leaf = kNone;     ///< to remove it by
    std::uint32_t new_strides = 0;  ///< that were not active there before
  };
  Added add(std::uint32_t worker, const kvbm::PromptBlocks& blocks);
  /// Returns how many strides are no longer active.
  std::uint32_t remove(std::uint32_t leaf);
  std::uint64_t bytes() const;

 private:
  struct Node {
    kvbm::BlockHash hash{};
    std::uint32_t worker = 0;
    std::uint32_t parent = kNone;
    std::uint32_t references = 0;  ///< children and requests that end here
  };
  static std::uint64_t key(kvbm::BlockHash hash, std::uint32_t worker);

  std::vector<Node> nodes_;
  std::vector<std::uint32_t> spare_;
  kvbm::FlatMap<std::uint32_t> by_block_;
  kvbm::PrefixIndex index_;
};

}  // namespace dyn::policy
