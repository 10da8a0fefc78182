#include "dyn/policy/cache_guess.h"

#include <algorithm>

namespace dyn::policy {

using kvbm::BlockRange;
using kvbm::KvEvent;

CacheGuess::CacheGuess(std::size_t capacity, Duration ttl) : capacity_(capacity), ttl_(ttl) {}

void CacheGuess::unlink(std::uint32_t entry) {
  const Entry& at = entries_[entry];
  (at.newer == kNone ? newest_ : entries_[at.newer].older) = at.older;
  (at.older == kNone ? oldest_ : entries_[at.older].newer) = at.newer;
}

void CacheGuess::push_newest(std::uint32_t entry) {
  entries_[entry].newer = kNone;
  entries_[entry].older = newest_;
  (newest_ == kNone ? oldest_ : entries_[newest_].newer) = entry;
  newest_ = entry;
}

void CacheGuess::forget_oldest(std::vector<KvEvent>& events) {
  const std::uint32_t entry = oldest_;
  const Entry& at = entries_[entry];
  events.push_back({KvEvent::Kind::removed, at.segment, 0, at.blocks});
  size_ -= at.blocks;
  where_.erase(static_cast<std::uint64_t>(at.segment));
  unlink(entry);
  spare_.push_back(entry);
}

/// The blocks up to the end of the range are there, and used last.
void CacheGuess::use(const BlockRange& range, SimTime now) {
  std::uint32_t entry = 0;
  if (const std::uint32_t* known = where_.find(static_cast<std::uint64_t>(range.segment))) {
    entry = *known;
    unlink(entry);
  } else {
    if (spare_.empty()) {
      entry = static_cast<std::uint32_t>(entries_.size());
      entries_.emplace_back();
    } else {
      entry = spare_.back();
      spare_.pop_back();
    }
    entries_[entry].segment = range.segment;
    entries_[entry].blocks = 0;
    where_.insert(static_cast<std::uint64_t>(range.segment), entry);
  }
  Entry& at = entries_[entry];
  const std::uint32_t blocks = std::max(at.blocks, range.end());
  size_ += blocks - at.blocks;
  at.blocks = blocks;
  at.used = now;
  push_newest(entry);
}

void CacheGuess::computed(const kvbm::PromptBlocks& blocks, SimTime now,
                          std::vector<KvEvent>& events) {
  expire(now, events);
  ranges_.clear();
  const auto count = static_cast<std::uint32_t>(std::min<std::size_t>(blocks.size(), capacity_));
  blocks.each_range(0, count, [&](const BlockRange& range) {
    ranges_.push_back(range);
    events.push_back({KvEvent::Kind::stored, range.segment, range.first, range.count});
    return true;
  });
  // From the last to the first, so that a prompt's end is forgotten before its beginning.
  for (auto range = ranges_.rbegin(); range != ranges_.rend(); ++range) {
    use(*range, now);
  }
  while (size_ > capacity_) {
    forget_oldest(events);
  }
}

void CacheGuess::expire(SimTime now, std::vector<KvEvent>& events) {
  while (oldest_ != kNone && now - entries_[oldest_].used > ttl_) {
    forget_oldest(events);
  }
}

void CacheGuess::clear() {
  entries_.clear();
  spare_.clear();
  where_.clear();
  newest_ = kNone;
  oldest_ = kNone;
  size_ = 0;
}

}  // namespace dyn::policy
