#include "dyn/policy/cache_guess.h"

#include <algorithm>

namespace dyn::policy {

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
  const kvbm::BlockHash hash = entries_[entry].hash;
  events.push_back({KvEvent::Kind::removed, hash});
  where_.erase(static_cast<std::uint64_t>(hash));
  unlink(entry);
  spare_.push_back(entry);
}

void CacheGuess::computed(const kvbm::PromptBlocks& blocks, SimTime now,
                          std::vector<KvEvent>& events) {
  expire(now, events);
  const auto count = static_cast<std::uint32_t>(std::min<std::size_t>(blocks.size(), capacity_));
  for (std::uint32_t i = 0; i < count; ++i) {
    events.push_back({KvEvent::Kind::stored, blocks[i]});
  }
  // From the last to the first, so that a prompt's end is forgotten before its beginning.
  for (std::uint32_t i = count; i-- > 0;) {
    const kvbm::BlockHash hash = blocks[i];
    std::uint32_t entry = 0;
    if (const std::uint32_t* known = where_.find(static_cast<std::uint64_t>(hash))) {
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
      entries_[entry].hash = hash;
      where_.insert(static_cast<std::uint64_t>(hash), entry);
    }
    entries_[entry].used = now;
    push_newest(entry);
  }
  while (where_.size() > capacity_) {
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
}

}  // namespace dyn::policy
