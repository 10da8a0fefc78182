#include "active_blocks.h"

namespace dyn::policy {

void ActiveBlocks::cut(const kvbm::PromptBlocks& blocks) {
  hashes_.clear();
  ends_.clear();
  std::uint32_t end = 0;
  std::uint32_t before = 0;
  blocks.each_range(0, blocks.size(), [&](const kvbm::BlockRange& range) {
    end += range.count;
    if (end - before >= kLeast) {
      hashes_.push_back(kvbm::nth_block(range.segment, range.end() - 1));
      ends_.push_back(end);
      before = end;
    }
    return true;
  });
}

void ActiveBlocks::overlaps(const kvbm::PromptBlocks& blocks, std::span<std::uint32_t> active) {
  cut(blocks);
  index_.leading_runs(kvbm::PromptBlocks(hashes_), active);
  for (std::uint32_t& pieces : active) {
    pieces = pieces == 0 ? 0 : ends_[pieces - 1];
  }
}

ActiveBlocks::Added ActiveBlocks::add(std::uint32_t worker, const kvbm::PromptBlocks& blocks) {
  cut(blocks);
  Added added;
  for (std::size_t i = 0; i < hashes_.size(); ++i) {
    const std::uint32_t count = ends_[i] - added.blocks;
    added.blocks = ends_[i];
    const std::uint32_t id =
        spare_.empty() ? static_cast<std::uint32_t>(nodes_.size()) : spare_.back();
    const auto [known, inserted] = by_block_.insert(key(hashes_[i], worker), id);
    if (!inserted) {
      added.leaf = *known;
      continue;
    }
    if (spare_.empty()) {
      nodes_.emplace_back();
    } else {
      spare_.pop_back();
    }
    nodes_[id] = Node{hashes_[i], worker, added.leaf, 0, count};
    if (added.leaf != kNone) {
      ++nodes_[added.leaf].references;
    }
    index_.stored(WorkerId(worker), hashes_[i]);
    added.leaf = id;
    added.fresh += count;
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
    gone += node.blocks;
    leaf = node.parent;
  }
  return gone;
}

std::uint64_t ActiveBlocks::bytes() const {
  return nodes_.capacity() * sizeof(Node) + spare_.capacity() * sizeof(std::uint32_t) +
         by_block_.bytes() + index_.bytes() + hashes_.capacity() * sizeof(kvbm::BlockHash) +
         ends_.capacity() * sizeof(std::uint32_t);
}

std::uint64_t ActiveBlocks::key(kvbm::BlockHash hash, std::uint32_t worker) {
  return static_cast<std::uint64_t>(kvbm::nth_block(hash, worker + 1));
}

}  // namespace dyn::policy
