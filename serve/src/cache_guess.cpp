#include "cache_guess.h"

#include <algorithm>

namespace dyn::serve {

using kvbm::BlockHash;
using kvbm::KvEvent;

std::vector<KvEvent> CacheGuess::computed(std::span<const BlockHash> blocks) {
  blocks = blocks.first(std::min(blocks.size(), capacity_));
  std::vector<KvEvent> events;
  for (const BlockHash hash : blocks) {
    events.push_back({KvEvent::Kind::stored, hash});
  }
  // From the last to the first, so that a prompt's end is forgotten before its beginning.
  for (std::size_t i = blocks.size(); i-- > 0;) {
    const auto it = where_.find(static_cast<std::uint64_t>(blocks[i]));
    if (it != where_.end()) {
      order_.splice(order_.begin(), order_, it->second);
    } else {
      order_.push_front(blocks[i]);
      where_.emplace(static_cast<std::uint64_t>(blocks[i]), order_.begin());
    }
  }
  while (order_.size() > capacity_) {
    events.push_back({KvEvent::Kind::removed, order_.back()});
    where_.erase(static_cast<std::uint64_t>(order_.back()));
    order_.pop_back();
  }
  return events;
}

void CacheGuess::clear() {
  order_.clear();
  where_.clear();
}

}  // namespace dyn::serve
