#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "dyn/kvbm/block_hash.h"
#include "kvbm_naive_evictors.h"

namespace dyn::test {

/// A pool of blocks one by one, of which a naive evictor chooses. Blocks without contents are taken
/// first; a copy that nobody holds goes where there is another.
class NaiveChosenPool {
 public:
  NaiveChosenPool(int blocks, EvictionKind kind, const kvbm::RecomputeCost& cost)
      : blocks_(static_cast<std::size_t>(blocks)),
        evictor_(naive_evictor(kind, static_cast<std::size_t>(blocks), cost)) {}

  int free() const {
    return count([](const Block& block) { return block.references == 0; });
  }
  int cached() const {
    return count([](const Block& block) { return block.references == 0 && block.named; });
  }
  std::vector<int> match(const std::vector<kvbm::BlockHash>& hashes, std::int64_t limit) const {
    std::vector<int> found;
    for (const kvbm::BlockHash hash : hashes) {
      if (static_cast<std::int64_t>(found.size()) == limit || find(hash) < 0) {
        break;
      }
      found.push_back(find(hash));
    }
    return found;
  }
  int find(kvbm::BlockHash hash) const {
    const auto copies = copies_.find(hash);
    return copies == copies_.end() ? -1 : copies->second.front();
  }
  int idle(const std::vector<int>& blocks) const {
    return static_cast<int>(std::count_if(blocks.begin(), blocks.end(),
                                          [&](int b) { return blocks_[b].references == 0; }));
  }
  void acquire(const std::vector<int>& blocks) {
    for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
      ++blocks_[*block].references;
      evictor_->pin(entry(*block), true);
      evictor_->hit(entry(*block), blocks_[*block].use);
    }
  }
  int take() {
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      if (blocks_[b].references == 0 && !blocks_[b].named) {
        blocks_[b].references = 1;
        return static_cast<int>(b);
      }
    }
    const int victim = choose();
    Block& block = blocks_[victim];
    events.push_back({kvbm::KvEvent::Kind::removed, block.use.hash});
    copies_.erase(block.use.hash);
    block.named = false;
    block.references = 1;
    return victim;
  }
  /// `before`: the holder's block before this one, or -1.
  void name(int id, kvbm::BlockHash hash, int before) {
    Block& block = blocks_[id];
    block.named = true;
    block.use = {hash};
    if (before >= 0) {
      block.use.parent = blocks_[before].use.hash;
      block.use.position = blocks_[before].use.position + 1;
    }
    std::vector<int>& copies = copies_[hash];
    if (copies.empty()) {
      copies.push_back(id);
      enter(id);
      events.push_back({kvbm::KvEvent::Kind::stored, hash});
    } else if (Block& old = blocks_[copies.front()]; old.references == 0) {
      evictor_->remove(entry(copies.front()));
      old.named = false;
      copies.front() = id;
      enter(id);
      evictor_->hit(entry(id), block.use);
    } else {
      copies.push_back(id);
    }
  }
  void release(const std::vector<int>& blocks) {
    for (auto id = blocks.rbegin(); id != blocks.rend(); ++id) {
      Block& block = blocks_[*id];
      if (--block.references > 0 || !block.named) {
        continue;
      }
      std::vector<int>& copies = copies_[block.use.hash];
      const bool first = copies.front() == *id;
      if (first) {
        evictor_->pin(entry(*id), false);
      }
      if (copies.size() > 1) {
        block.named = false;
        copies.erase(std::find(copies.begin(), copies.end(), *id));
        if (first) {
          evictor_->remove(entry(*id));
          enter(copies.front());
        }
      }
    }
  }

  std::vector<kvbm::KvEvent> events;

 private:
  struct Block {
    BlockUse use;
    int references = 0;
    bool named = false;
  };
  static Entry entry(int block) { return static_cast<Entry>(block); }
  template <class Is>
  int count(Is is) const {
    return static_cast<int>(std::count_if(blocks_.begin(), blocks_.end(), is));
  }
  void enter(int block) {
    evictor_->insert(entry(block), blocks_[block].use);
    evictor_->pin(entry(block), blocks_[block].references > 0);
  }
  int choose() {
    if (const Entry chosen = evictor_->evict(); chosen != kNoEntry) {
      return static_cast<int>(chosen);
    }
    int last = -1;
    const auto place = [&](int b) {
      return std::tuple(blocks_[b].references == 0, blocks_[b].use.position, blocks_[b].use.hash);
    };
    for (int b = 0; b < static_cast<int>(blocks_.size()); ++b) {
      last = last < 0 || place(b) > place(last) ? b : last;
    }
    evictor_->remove(entry(last));
    return last;
  }

  std::vector<Block> blocks_;
  std::map<kvbm::BlockHash, std::vector<int>> copies_;
  std::unique_ptr<NaiveEvictor> evictor_;
};

}  // namespace dyn::test
