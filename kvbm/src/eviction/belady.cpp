#include <limits>
#include <tuple>

#include "entry_heap.h"
#include "evictors.h"

namespace dyn::kvbm {
namespace {

/// The farthest next use leaves first.
class Belady final : public Evictor {
 public:
  void insert(Entry entry, const BlockUse& use) override {
    if (entry >= blocks_.size()) {
      blocks_.resize(entry + 1);
    }
    Block& block = blocks_[entry];
    block.inside = true;
    ++size_;
    set(entry, use);
  }
  void hit(Entry entry, const BlockUse& use) override { set(entry, use); }
  void remove(Entry entry) override {
    if (heap_.has(entry)) {
      heap_.remove(entry);
    }
    blocks_[entry].inside = false;
    --size_;
  }
  bool admits(const BlockUse& use) const override {
    return heap_.empty() || key_of(use, 0) > heap_.least_key();
  }
  Entry evict() override {
    if (heap_.empty()) {
      return kNoEntry;
    }
    const Entry victim = heap_.least();
    remove(victim);
    return victim;
  }
  void pin(Entry entry, bool pinned) override {
    if (entry >= blocks_.size()) {
      blocks_.resize(entry + 1);
    }
    blocks_[entry].pinned = pinned;
    list(entry);
  }
  std::uint64_t size() const override { return size_; }
  void check_invariants() const override {
    heap_.check();
    std::uint64_t inside = 0;
    for (Entry entry = 0; entry < blocks_.size(); ++entry) {
      inside += blocks_[entry].inside ? 1 : 0;
      DYN_ASSERT(heap_.has(entry) == (blocks_[entry].inside && !blocks_[entry].pinned),
                 "the heap has not those that may leave");
    }
    DYN_ASSERT(inside == size_, "an evictor has lost a block");
  }

 private:
  /// Least first: farthest next use, latest position, oldest use.
  using Key = std::tuple<std::uint64_t, std::uint32_t, std::uint64_t>;
  struct Block {
    Key key;
    bool inside = false;
    bool pinned = false;
  };

  static Key key_of(const BlockUse& use, std::uint64_t number) {
    return {BlockUse::kNever - use.next_use,
            std::numeric_limits<std::uint32_t>::max() - use.position, number};
  }
  void set(Entry entry, const BlockUse& use) {
    Block& block = blocks_[entry];
    if (heap_.has(entry)) {
      heap_.remove(entry);
    }
    block.key = key_of(use, ++uses_);
    list(entry);
  }
  void list(Entry entry) {
    const Block& block = blocks_[entry];
    const bool may_leave = block.inside && !block.pinned;
    if (may_leave && !heap_.has(entry)) {
      heap_.insert(entry, block.key);
    } else if (!may_leave && heap_.has(entry)) {
      heap_.remove(entry);
    }
  }

  std::vector<Block> blocks_;
  EntryHeap<Key> heap_;
  std::uint64_t uses_ = 0;
  std::uint64_t size_ = 0;
};

}  // namespace

std::unique_ptr<Evictor> make_belady() {
  return std::make_unique<Belady>();
}

}  // namespace dyn::kvbm
