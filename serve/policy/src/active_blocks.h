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
/// counted once. A prompt is cut at the ends of its segments into pieces of at least kLeast
/// blocks, so that keeping the books of blocks that are segments costs an eighth; what differs by
/// less than a piece counts as not shared. Each worker's prompts form a tree; a request holds on
/// to its deepest node.
class ActiveBlocks {
 public:
  static constexpr std::uint32_t kLeast = 8;
  static constexpr std::uint32_t kNone = static_cast<std::uint32_t>(-1);

  ActiveBlocks(std::uint32_t workers, std::uint64_t max_pieces) : index_(workers, max_pieces) {}

  /// For each worker, how many leading blocks of the prompt are active there, in whole pieces.
  void overlaps(const kvbm::PromptBlocks& blocks, std::span<std::uint32_t> active);
  struct Added {
    std::uint32_t leaf = kNone;  ///< to remove it by
    std::uint32_t blocks = 0;    ///< of its pieces; the rest are the request's own
    std::uint32_t fresh = 0;     ///< of these, those that were not active there before
  };
  Added add(std::uint32_t worker, const kvbm::PromptBlocks& blocks);
  /// Returns how many blocks are no longer active.
  std::uint32_t remove(std::uint32_t leaf);
  std::uint64_t bytes() const;

 private:
  struct Node {
    kvbm::BlockHash hash{};
    std::uint32_t worker = 0;
    std::uint32_t parent = kNone;
    std::uint32_t references = 0;  ///< children and requests that end here
    std::uint32_t blocks = 0;
  };
  void cut(const kvbm::PromptBlocks& blocks);
  static std::uint64_t key(kvbm::BlockHash hash, std::uint32_t worker);

  std::vector<Node> nodes_;
  std::vector<std::uint32_t> spare_;
  kvbm::FlatMap<std::uint32_t> by_block_;
  kvbm::PrefixIndex index_;
  // The pieces of the prompt at hand: the hash of each one's last block, and where it ends.
  std::vector<kvbm::BlockHash> hashes_;
  std::vector<std::uint32_t> ends_;
};

}  // namespace dyn::policy
