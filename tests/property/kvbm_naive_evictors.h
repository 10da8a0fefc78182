#pragma once

#include <algorithm>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "dyn/kvbm/eviction.h"
#include "dyn/kvbm/frequency_sketch.h"

// Evictors as one would write them first: lists and scans over all blocks.
namespace dyn::test {

using kvbm::BlockUse;
using kvbm::Entry;
using kvbm::kNoEntry;

class NaiveEvictor {
 public:
  virtual ~NaiveEvictor() = default;
  virtual void insert(Entry entry, const BlockUse& use) = 0;
  virtual void hit(Entry entry, const BlockUse& use) = 0;
  virtual void remove(Entry entry) = 0;
  virtual Entry evict() = 0;
  void pin(Entry entry, bool pinned) {
    pinned ? (void)pins.insert(entry) : (void)pins.erase(entry);
  }

 protected:
  std::set<Entry> pins;
  bool free(Entry entry) const { return !pins.contains(entry); }
  /// The first (oldest) that is not pinned, taken out of the list.
  Entry take_oldest(std::list<Entry>& from) const {
    for (auto it = from.begin(); it != from.end(); ++it) {
      if (free(*it)) {
        const Entry entry = *it;
        from.erase(it);
        return entry;
      }
    }
    return kNoEntry;
  }
  Entry oldest(const std::list<Entry>& from) const {
    const auto it = std::find_if(from.begin(), from.end(), [&](Entry e) { return free(e); });
    return it == from.end() ? kNoEntry : *it;
  }
  static bool has(const std::list<Entry>& in, Entry entry) {
    return std::find(in.begin(), in.end(), entry) != in.end();
  }
};

class NaiveLru final : public NaiveEvictor {
 public:
  void insert(Entry entry, const BlockUse&) override { order_.push_back(entry); }
  void hit(Entry entry, const BlockUse&) override {
    order_.remove(entry);
    order_.push_back(entry);
  }
  void remove(Entry entry) override { order_.remove(entry); }
  Entry evict() override { return take_oldest(order_); }

 private:
  std::list<Entry> order_;
};

class NaiveS3Fifo final : public NaiveEvictor {
 public:
  explicit NaiveS3Fifo(std::size_t capacity)
      : small_target_(std::max<std::size_t>(capacity / 10, 1)),
        main_target_(capacity - std::min(capacity, small_target_)) {}

  void insert(Entry entry, const BlockUse& use) override {
    hash_[entry] = use.hash;
    uses_[entry] = 0;
    const auto ghost = std::find(ghosts_.begin(), ghosts_.end(), std::pair(use.hash, true));
    if (ghost != ghosts_.end()) {
      ghost->second = false;  // its place in the queue stays taken
      main_.push_back(entry);
    } else {
      small_.push_back(entry);
    }
  }
  void hit(Entry entry, const BlockUse&) override { uses_[entry] = std::min(uses_[entry] + 1, 3); }
  void remove(Entry entry) override {
    small_.remove(entry);
    main_.remove(entry);
  }
  Entry evict() override {
    if (small_.size() >= small_target_ || main_.empty()) {
      if (const Entry victim = from_small(); victim != kNoEntry) {
        return victim;
      }
    }
    const Entry victim = from_main();
    return victim != kNoEntry ? victim : from_small();
  }

 private:
  Entry from_small() {
    for (Entry entry = take_oldest(small_); entry != kNoEntry; entry = take_oldest(small_)) {
      if (uses_[entry] <= 1) {
        remember(hash_[entry]);
        return entry;
      }
      uses_[entry] = 0;
      main_.push_back(entry);
      if (main_.size() > main_target_) {
        if (const Entry victim = from_main(); victim != kNoEntry) {
          return victim;
        }
      }
    }
    return kNoEntry;
  }
  Entry from_main() {
    for (Entry entry = take_oldest(main_); entry != kNoEntry; entry = take_oldest(main_)) {
      if (uses_[entry] == 0) {
        return entry;
      }
      --uses_[entry];
      main_.push_back(entry);
    }
    return kNoEntry;
  }
  void remember(kvbm::BlockHash hash) {
    for (auto& [known, alive] : ghosts_) {
      alive = alive && known != hash;
    }
    ghosts_.emplace_back(hash, true);
    while (ghosts_.size() > main_target_) {
      ghosts_.pop_front();
    }
  }

  std::size_t small_target_;
  std::size_t main_target_;
  std::list<Entry> small_, main_;
  std::list<std::pair<kvbm::BlockHash, bool>> ghosts_;
  std::map<Entry, kvbm::BlockHash> hash_;
  std::map<Entry, int> uses_;
};

class NaiveTinyLfu final : public NaiveEvictor {
 public:
  explicit NaiveTinyLfu(std::size_t capacity)
      : window_target_(std::max<std::size_t>(capacity / 100, 1)),
        protected_target_((capacity - std::min(capacity, window_target_)) * 4 / 5),
        sketch_(capacity) {}

  void insert(Entry entry, const BlockUse& use) override {
    hash_[entry] = use.hash;
    sketch_.add(use.hash);
    window_.push_back(entry);
    if (window_.size() > window_target_) {
      probation_.push_back(window_.front());
      window_.pop_front();
    }
  }
  void hit(Entry entry, const BlockUse& use) override {
    sketch_.add(use.hash);
    if (has(window_, entry)) {
      window_.remove(entry);
      window_.push_back(entry);
      return;
    }
    probation_.remove(entry);
    protected_.remove(entry);
    protected_.push_back(entry);
    if (protected_.size() > protected_target_) {
      probation_.push_back(protected_.front());
      protected_.pop_front();
    }
  }
  void remove(Entry entry) override {
    window_.remove(entry);
    probation_.remove(entry);
    protected_.remove(entry);
  }
  Entry evict() override {
    const bool window_full = window_.size() >= window_target_;
    const Entry candidate = window_full ? oldest(window_) : kNoEntry;
    Entry victim = oldest(probation_);
    victim = victim != kNoEntry ? victim : oldest(protected_);
    if (victim == kNoEntry) {
      return take_oldest(window_);
    }
    if (candidate != kNoEntry) {
      if (sketch_.count(hash_[candidate]) <= sketch_.count(hash_[victim])) {
        return take_oldest(window_);
      }
      window_.remove(candidate);
      probation_.push_back(candidate);
    }
    remove(victim);
    return victim;
  }

 private:
  std::size_t window_target_;
  std::size_t protected_target_;
  kvbm::FrequencySketch sketch_;
  std::list<Entry> window_, probation_, protected_;
  std::map<Entry, kvbm::BlockHash> hash_;
};

class NaiveCostAware final : public NaiveEvictor {
 public:
  explicit NaiveCostAware(kvbm::RecomputeCost cost) : cost_(cost) {}

  void insert(Entry entry, const BlockUse& use) override {
    blocks_[entry] = {use, 0, 0, 0};
    hit(entry, use);
  }
  void hit(Entry entry, const BlockUse&) override {
    Block& block = blocks_[entry];
    block.value = clock_ + ++block.uses * cost_.of(block.use.position);
    block.used = ++now_;
  }
  void remove(Entry entry) override { blocks_.erase(entry); }
  Entry evict() override {
    Entry victim = kNoEntry;
    for (const auto& [entry, block] : blocks_) {
      const bool followed =
          std::any_of(blocks_.begin(), blocks_.end(), [&, &b = block](const auto& other) {
            return other.second.use.position > 0 && other.second.use.parent == b.use.hash;
          });
      if (free(entry) && !followed &&
          (victim == kNoEntry || std::pair(block.value, block.used) <
                                     std::pair(blocks_[victim].value, blocks_[victim].used))) {
        victim = entry;
      }
    }
    if (victim != kNoEntry) {
      clock_ = blocks_[victim].value;
      blocks_.erase(victim);
    }
    return victim;
  }

 private:
  struct Block {
    BlockUse use;
    std::uint64_t uses, value, used;
  };
  kvbm::RecomputeCost cost_;
  std::map<Entry, Block> blocks_;
  std::uint64_t clock_ = 0;
  std::uint64_t now_ = 0;
};

class NaiveBelady final : public NaiveEvictor {
 public:
  void insert(Entry entry, const BlockUse& use) override { hit(entry, use); }
  void hit(Entry entry, const BlockUse& use) override { blocks_[entry] = {use, ++now_}; }
  void remove(Entry entry) override { blocks_.erase(entry); }
  Entry evict() override {
    Entry victim = kNoEntry;
    for (const auto& [entry, block] : blocks_) {
      if (free(entry) && (victim == kNoEntry || farther(block, blocks_[victim]))) {
        victim = entry;
      }
    }
    blocks_.erase(victim);
    return victim;
  }

 private:
  struct Block {
    BlockUse use;
    std::uint64_t used = 0;
  };
  static bool farther(const Block& a, const Block& b) {
    if (a.use.next_use != b.use.next_use) {
      return a.use.next_use > b.use.next_use;
    }
    return a.use.position != b.use.position ? a.use.position > b.use.position : a.used < b.used;
  }
  std::map<Entry, Block> blocks_;
  std::uint64_t now_ = 0;
};

inline std::unique_ptr<NaiveEvictor> naive_evictor(EvictionKind kind, std::size_t capacity,
                                                   kvbm::RecomputeCost cost) {
  switch (kind) {
    case EvictionKind::lru:
      return std::make_unique<NaiveLru>();
    case EvictionKind::s3_fifo:
      return std::make_unique<NaiveS3Fifo>(capacity);
    case EvictionKind::tiny_lfu:
      return std::make_unique<NaiveTinyLfu>(capacity);
    case EvictionKind::cost_aware:
      return std::make_unique<NaiveCostAware>(cost);
    case EvictionKind::belady:
      return std::make_unique<NaiveBelady>();
  }
  return nullptr;
}

}  // namespace dyn::test
