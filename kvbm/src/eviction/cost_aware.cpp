#include "dyn/kvbm/flat_map.h"
#include "entry_heap.h"
#include "evictors.h"

namespace dyn::kvbm {
namespace {

/// GreedyDual with frequency over the ends of chains.
class CostAware final : public Evictor {
 public:
  explicit CostAware(const RecomputeCost& cost) : cost_(cost) {}

  void insert(Entry entry, const BlockUse& use) override {
    if (entry >= blocks_.size()) {
      blocks_.resize(entry + 1);
    }
    Block& block = blocks_[entry];
    block = {use.hash, use.parent, use.position, 0, 0, 0, true, block.pinned};
    entries_.insert(key(use.hash), entry);
    if (use.position > 0) {
      followers(use.parent, +1);
    }
    ++size_;
    value(entry);
  }
  void hit(Entry entry, const BlockUse&) override { value(entry); }
  void remove(Entry entry) override {
    Block& block = blocks_[entry];
    if (leaves_.has(entry)) {
      leaves_.remove(entry);
    }
    block.inside = false;
    entries_.erase(key(block.hash));
    --size_;
    if (block.position > 0) {
      followers(block.parent, -1);
    }
  }
  Entry evict() override {
    if (leaves_.empty()) {
      return kNoEntry;
    }
    const Entry victim = leaves_.least();
    clock_ = blocks_[victim].value;
    remove(victim);
    return victim;
  }
  void pin(Entry entry, bool pinned) override {
    if (entry >= blocks_.size()) {
      blocks_.resize(entry + 1);
    }
    blocks_[entry].pinned = pinned;
    if (blocks_[entry].inside) {
      list(entry);
    }
  }
  std::uint64_t size() const override { return size_; }
  void check_invariants() const override {
    leaves_.check();
    std::uint64_t inside = 0;
    for (Entry entry = 0; entry < blocks_.size(); ++entry) {
      const Block& block = blocks_[entry];
      inside += block.inside ? 1 : 0;
      DYN_ASSERT(leaves_.has(entry) == (block.inside && !block.pinned && !followed(block)),
                 "the ends of chains are not those that may leave");
    }
    DYN_ASSERT(inside == size_ && entries_.size() == size_, "an evictor has lost a block");
  }

 private:
  struct Block {
    BlockHash hash{};
    BlockHash parent{};
    std::uint32_t position = 0;
    std::uint32_t uses = 0;
    std::uint64_t value = 0;
    std::uint64_t used = 0;  ///< number of its last use, which makes values distinct
    bool inside = false;
    bool pinned = false;
  };

  static std::uint64_t key(BlockHash hash) { return static_cast<std::uint64_t>(hash); }
  bool followed(const Block& block) const { return followers_.find(key(block.hash)) != nullptr; }

  /// Counts a use.
  void value(Entry entry) {
    Block& block = blocks_[entry];
    ++block.uses;
    block.value = clock_ + block.uses * cost_.of(block.position);
    block.used = ++uses_;
    if (leaves_.has(entry)) {
      leaves_.remove(entry);
    }
    list(entry);
  }
  /// Lists it among those that may leave, or not.
  void list(Entry entry) {
    const Block& block = blocks_[entry];
    const bool may_leave = block.inside && !block.pinned && !followed(block);
    if (may_leave && !leaves_.has(entry)) {
      leaves_.insert(entry, {block.value, block.used});
    } else if (!may_leave && leaves_.has(entry)) {
      leaves_.remove(entry);
    }
  }
  /// One more or less block inside follows `hash`, which may not be inside itself.
  void followers(BlockHash hash, std::int32_t change) {
    const auto [count, inserted] = followers_.insert(key(hash), 0);
    *count += change;
    if (*count == 0) {
      followers_.erase(key(hash));
    }
    if (const Entry* entry = entries_.find(key(hash))) {
      list(*entry);
    }
  }

  RecomputeCost cost_;
  std::vector<Block> blocks_;
  FlatMap<Entry> entries_;
  FlatMap<std::int32_t> followers_;  ///< blocks inside that follow a hash; absent: none
  EntryHeap<std::pair<std::uint64_t, std::uint64_t>> leaves_;
  std::uint64_t clock_ = 0;
  std::uint64_t uses_ = 0;
  std::uint64_t size_ = 0;
};

}  // namespace

std::unique_ptr<Evictor> make_cost_aware(const RecomputeCost& cost) {
  return std::make_unique<CostAware>(cost);
}

}  // namespace dyn::kvbm
