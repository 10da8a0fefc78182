#pragma once

#include <utility>
#include <vector>

#include "dyn/kvbm/eviction.h"

namespace dyn::kvbm {

/// Blocks by a key, least first; each knows its place, so that its key can change and it can
/// leave. Keys are distinct.
template <class Key>
class EntryHeap {
 public:
  bool empty() const { return heap_.empty(); }
  std::size_t size() const { return heap_.size(); }
  bool has(Entry entry) const { return entry < place_.size() && place_[entry] != kOut; }
  Entry least() const { return heap_.front().second; }
  const Key& least_key() const { return heap_.front().first; }

  void insert(Entry entry, Key key) {
    if (entry >= place_.size()) {
      place_.resize(entry + 1, kOut);
    }
    DYN_ASSERT(place_[entry] == kOut, "a block is in the heap once");
    heap_.emplace_back(std::move(key), entry);
    place_[entry] = heap_.size() - 1;
    up(heap_.size() - 1);
  }
  void remove(Entry entry) {
    const std::size_t hole = place_[entry];
    place_[entry] = kOut;
    if (hole + 1 < heap_.size()) {
      put(hole, std::move(heap_.back()));
      heap_.pop_back();
      up(hole);
      down(place_[heap_[hole].second]);
    } else {
      heap_.pop_back();
    }
  }

  void check() const {
    for (std::size_t i = 0; i < heap_.size(); ++i) {
      DYN_ASSERT(place_[heap_[i].second] == i, "a block has lost its place in the heap");
      DYN_ASSERT(i == 0 || heap_[(i - 1) / 2].first < heap_[i].first, "the heap is out of order");
    }
  }

 private:
  static constexpr std::size_t kOut = static_cast<std::size_t>(-1);

  void put(std::size_t place, std::pair<Key, Entry> item) {
    place_[item.second] = place;
    heap_[place] = std::move(item);
  }
  void swap(std::size_t a, std::size_t b) {
    std::swap(heap_[a], heap_[b]);
    place_[heap_[a].second] = a;
    place_[heap_[b].second] = b;
  }
  void up(std::size_t i) {
    while (i > 0 && heap_[i].first < heap_[(i - 1) / 2].first) {
      swap(i, (i - 1) / 2);
      i = (i - 1) / 2;
    }
  }
  void down(std::size_t i) {
    for (std::size_t child = 2 * i + 1; child < heap_.size(); child = 2 * i + 1) {
      child += child + 1 < heap_.size() && heap_[child + 1].first < heap_[child].first ? 1 : 0;
      if (heap_[i].first < heap_[child].first) {
        return;
      }
      swap(i, child);
      i = child;
    }
  }

  std::vector<std::pair<Key, Entry>> heap_;
  std::vector<std::size_t> place_;  ///< by entry
};

}  // namespace dyn::kvbm
