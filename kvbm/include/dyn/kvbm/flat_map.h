#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "dyn/core/check.h"

namespace dyn::kvbm {

/// A map from 64-bit keys to small trivially copyable values: open addressing, linear probing,
/// deletion by shifting back (no tombstones), at most half full. Nothing depends on its order, so
/// it cannot be iterated in one; use it where the keys are known. Not thread-safe.
template <class Value>
class FlatMap {
 public:
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::size_t bytes() const { return entries_.capacity() * sizeof(Entry); }

  /// Makes room for `count` keys without growing again.
  void reserve(std::size_t count) {
    std::size_t capacity = kSmallest;
    while (capacity < 2 * count) {
      capacity *= 2;
    }
    if (capacity > entries_.size()) {
      rehash(capacity);
    }
  }

  /// The value of `key`, or null. Valid until the next insertion or deletion.
  Value* find(std::uint64_t key) { return const_cast<Value*>(std::as_const(*this).find(key)); }
  const Value* find(std::uint64_t key) const {
    if (entries_.empty()) {
      return nullptr;
    }
    const std::size_t i = locate(key);
    return entries_[i].used ? &entries_[i].value : nullptr;
  }

  /// The value of `key`, inserted as `value` if absent; true if it was.
  std::pair<Value*, bool> insert(std::uint64_t key, Value value) {
    if (2 * (size_ + 1) > entries_.size()) {
      rehash(entries_.empty() ? kSmallest : 2 * entries_.size());
    }
    const std::size_t i = locate(key);
    if (entries_[i].used) {
      return {&entries_[i].value, false};
    }
    entries_[i] = Entry{key, value, true};
    ++size_;
    return {&entries_[i].value, true};
  }

  /// Removes `key`; false if it was absent.
  bool erase(std::uint64_t key) {
    if (entries_.empty()) {
      return false;
    }
    std::size_t hole = locate(key);
    if (!entries_[hole].used) {
      return false;
    }
    // Pull back every later entry of the cluster whose home is not beyond the hole.
    for (std::size_t i = next(hole); entries_[i].used; i = next(i)) {
      const std::size_t distance = (i - home(entries_[i].key)) & mask_;
      if (distance >= ((i - hole) & mask_)) {
        entries_[hole] = entries_[i];
        hole = i;
      }
    }
    entries_[hole].used = false;
    --size_;
    return true;
  }

  void clear() {
    entries_.assign(entries_.size(), Entry{});
    size_ = 0;
  }

 private:
  struct Entry {
    std::uint64_t key = 0;
    Value value{};
    bool used = false;
  };
  static constexpr std::size_t kSmallest = 16;

  // Fibonacci hashing: spreads dense ids as well as hashes.
  std::size_t home(std::uint64_t key) const {
    return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15ULL) >> shift_);
  }
  std::size_t next(std::size_t i) const { return (i + 1) & mask_; }
  std::size_t locate(std::uint64_t key) const {
    std::size_t i = home(key);
    while (entries_[i].used && entries_[i].key != key) {
      i = next(i);
    }
    return i;
  }
  void rehash(std::size_t capacity) {
    std::vector<Entry> old(capacity);
    old.swap(entries_);
    mask_ = capacity - 1;
    shift_ = 64;
    for (std::size_t c = capacity; c > 1; c /= 2) {
      --shift_;
    }
    for (const Entry& entry : old) {
      if (entry.used) {
        entries_[locate(entry.key)] = entry;
      }
    }
  }

  std::vector<Entry> entries_;
  std::size_t size_ = 0;
  std::size_t mask_ = 0;
  int shift_ = 64;
};

}  // namespace dyn::kvbm
