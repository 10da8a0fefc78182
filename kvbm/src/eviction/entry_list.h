#pragma once

#include <vector>

#include "dyn/kvbm/eviction.h"

namespace dyn::kvbm {

/// The links of the lists that an evictor's blocks are in, by entry: each is in at most one.
struct EntryLinks {
  struct Link {
    Entry previous = kNoEntry;
    Entry next = kNoEntry;
    std::uint8_t list = 0;  ///< which the block is in; 0: none
    bool pinned = false;
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

/// A list of blocks from the oldest (head) to the newest (tail), linked through EntryLinks.
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
    link.previous = tail_;
    link.next = kNoEntry;
    (tail_ == kNoEntry ? head_ : links.at[tail_].next) = entry;
    tail_ = entry;
    ++size_;
  }
  void take(EntryLinks& links, Entry entry) {
    EntryLinks::Link& link = links.at[entry];
    DYN_ASSERT(link.list == id_, "a block is taken out of the list that it is in");
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
  /// The oldest that is not pinned; kNoEntry if all are.
  Entry oldest_free(const EntryLinks& links) const {
    Entry entry = head_;
    while (entry != kNoEntry && links.at[entry].pinned) {
      entry = links.at[entry].next;
    }
    return entry;
  }
  void check(const EntryLinks& links) const {
    std::uint64_t count = 0;
    Entry before = kNoEntry;
    for (Entry entry = head_; entry != kNoEntry; entry = links.at[entry].next) {
      DYN_ASSERT(links.at[entry].list == id_ && links.at[entry].previous == before,
                 "an evictor's list is torn");
      before = entry;
      ++count;
    }
    DYN_ASSERT(count == size_ && before == tail_, "an evictor's list has the wrong length");
  }

 private:
  std::uint8_t id_;
  Entry head_ = kNoEntry;
  Entry tail_ = kNoEntry;
  std::uint64_t size_ = 0;
};

}  // namespace dyn::kvbm
