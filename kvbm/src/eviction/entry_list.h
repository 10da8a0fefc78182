#pragma once

#include <cstdint>
#include <vector>

#include "dyn/core/check.h"
#include "dyn/kvbm/eviction.h"
#include "entry_heap.h"

namespace dyn::kvbm {

/// The links of the lists that an evictor's blocks are in, by entry: each is in at most one.
struct EntryLinks {
  struct Link {
    Entry previous = kNoEntry;
    Entry next = kNoEntry;
    std::uint64_t number = 0;  ///< in the order of pushes
    std::uint8_t list = 0;     ///< which the block is in; 0: none
    bool pinned = false;
    bool passed = false;  ///< a search for one that is not pinned has gone by
  };
  std::vector<Link> at;

  Link& operator[](Entry entry) {
    if (entry >= at.size()) {
      at.resize(entry + 1);
    }
    return at[entry];
  }
  std::uint8_t list_of(Entry entry) const { return entry < at.size() ? at[entry].list : 0; }
};

/// A list of blocks from the oldest (head) to the newest (tail), linked through EntryLinks. Blocks
/// that are pinned for long, as those that requests of a device hold, are looked at once: a search
/// goes on where the last one ended, and those before it that are unpinned later wait in a heap.
class EntryList {
 public:
  explicit EntryList(std::uint8_t id) : id_(id) {}

  std::uint64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  Entry oldest() const { return head_; }

  void push(EntryLinks& links, Entry entry) {
    EntryLinks::Link& link = links[entry];
    DYN_ASSERT(link.list == 0, "a block is in one list");
    link.list = id_;
    link.number = pushes_++;
    link.passed = false;
    link.previous = tail_;
    link.next = kNoEntry;
    if (search_ == kNoEntry) {
      search_ = entry;
    }
    (tail_ == kNoEntry ? head_ : links.at[tail_].next) = entry;
    tail_ = entry;
    ++size_;
  }
  void take(EntryLinks& links, Entry entry) {
    EntryLinks::Link& link = links.at[entry];
    DYN_ASSERT(link.list == id_, "a block is taken out of the list that it is in");
    if (search_ == entry) {
      search_ = link.next;
    }
    if (unpinned_.has(entry)) {
      unpinned_.remove(entry);
    }
    (link.previous == kNoEntry ? head_ : links.at[link.previous].next) = link.next;
    (link.next == kNoEntry ? tail_ : links.at[link.next].previous) = link.previous;
    link.list = 0;
    --size_;
  }
  /// Makes it the newest.
  void renew(EntryLinks& links, Entry entry) {
    take(links, entry);
    push(links, entry);
  }
  void pin(EntryLinks& links, Entry entry, bool pinned) {
    EntryLinks::Link& link = links.at[entry];
    DYN_ASSERT(link.list == id_, "a block is pinned in the list that it is in");
    if (link.passed && link.pinned && !pinned) {
      unpinned_.insert(entry, link.number);
    } else if (unpinned_.has(entry) && pinned) {
      unpinned_.remove(entry);
    }
    link.pinned = pinned;
  }
  /// The oldest that is not pinned; kNoEntry if all are.
  Entry oldest_free(EntryLinks& links) {
    if (!unpinned_.empty()) {
      return unpinned_.least();
    }
    while (search_ != kNoEntry && links.at[search_].pinned) {
      links.at[search_].passed = true;
      search_ = links.at[search_].next;
    }
    return search_;
  }
  void check(const EntryLinks& links) const {
    std::uint64_t count = 0;
    Entry before = kNoEntry;
    bool passed = true;
    for (Entry entry = head_; entry != kNoEntry; entry = links.at[entry].next) {
      const EntryLinks::Link& link = links.at[entry];
      DYN_ASSERT(link.list == id_ && link.previous == before, "an evictor's list is torn");
      passed = passed && entry != search_;
      DYN_ASSERT(link.passed == passed, "a search has left out a block");
      DYN_ASSERT(unpinned_.has(entry) == (passed && !link.pinned),
                 "a block that was passed can not be found");
      before = entry;
      ++count;
    }
    unpinned_.check();
    DYN_ASSERT(count == size_ && before == tail_, "an evictor's list has the wrong length");
  }

 private:
  std::uint8_t id_;
  Entry head_ = kNoEntry;
  Entry tail_ = kNoEntry;
  std::uint64_t size_ = 0;
  std::uint64_t pushes_ = 0;
  Entry search_ = kNoEntry;            ///< the oldest that no search has passed
  EntryHeap<std::uint64_t> unpinned_;  ///< of those passed, by number
};

}  // namespace dyn::kvbm
