#pragma once

#include <list>
#include <span>
#include <unordered_map>
#include <vector>

#include "dyn/kvbm/block_hash.h"

namespace dyn::serve {

/// What an engine that publishes no cache events probably holds: the blocks of the prompts that
/// went there, the least recently used forgotten beyond `capacity`. So a router still sends
/// prompts to where their beginning has been.
class CacheGuess {
 public:
  explicit CacheGuess(std::size_t capacity) : capacity_(capacity) {}

  /// A prompt was computed; returns what changed, as an engine would publish it.
  std::vector<kvbm::KvEvent> computed(std::span<const kvbm::BlockHash> blocks);
  /// The engine is gone, and its cache with it.
  void clear();
  std::size_t size() const { return order_.size(); }

 private:
  std::size_t capacity_;
  std::list<kvbm::BlockHash> order_;  ///< most recent first
  std::unordered_map<std::uint64_t, std::list<kvbm::BlockHash>::iterator> where_;
};

}  // namespace dyn::serve
