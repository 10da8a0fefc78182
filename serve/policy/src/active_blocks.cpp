#include "active_blocks.h"

namespace dyn::policy {

ActiveBlocks::Added ActiveBlocks::add(std::uint32_t worker, const kvbm::PromptBlocks& blocks) {
  Added added;
  for (std::uint32_t i = kStride - 1; i < blocks.size(); i += kStride) {
    const kvbm::BlockHash hash = blocks[i];
    const std::uint32_t id =
        spare_.empty() ? static_cast<std::uint32_t>(nodes_.size()) : spare_.back();
    const auto [known, inserted] = by_block_.insert(key(hash, worker), id);
    if (!inserted) {
      added.leaf = *known;
      continue;
    }
    if (spare_.empty()) {
      nodes_.emplace_back();
    } else {
      spare_.pop_back();
    }
    nodes_[id] = Node{hash, worker, added.leaf, 0};
    if (added.leaf != kNone) {
      ++nodes_[added.leaf].references;
    }
    index_.stored(WorkerId(worker), hash);
    added.leaf = id;
    ++added.new_strides;
  }
  if (added.leaf != kNone) {
    ++nodes_[added.leaf].references;
  }
  return added;
}

std::uint32_t ActiveBlocks::remove(std::uint32_t leaf) {
  std::uint32_t gone = 0;
  while (leaf != kNone && --nodes_[leaf].references == 0) {
    const Node& node = nodes_[leaf];
    by_block_.erase(key(node.hash, node.worker));
    index_.removed(WorkerId(node.worker), node.hash);
    spare_.push_back(leaf);
    leaf = node.parent;
    ++gone;
  }
  return gone;
}

std::uint64_t ActiveBlocks::bytes() const {
  return nodes_.capacity() * sizeof(Node) + spare_.capacity() * sizeof(std::uint32_t) +
         by_block_.bytes() + index_.bytes();
}

std::uint64_t ActiveBlocks::key(kvbm::BlockHash hash, std::uint32_t worker) {
  return static_cast<std::uint64_t>(kvbm::subblock(hash, worker));
}

}  // namespace dyn::policy
