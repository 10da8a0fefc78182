#include "dyn/kvbm/block_pool.h"

#include <algorithm>
#include <bit>

#include "dyn/core/check.h"

namespace dyn::kvbm {

namespace {
std::uint64_t key(BlockHash hash) {
  return static_cast<std::uint64_t>(hash);
}
}  // namespace

BlockPool::BlockPool(std::uint64_t blocks) : total_(blocks), free_(blocks) {
  DYN_ASSERT(blocks < kNone, "a pool has fewer than 2^32 - 1 blocks");
  append_nameless(blocks);
}

BlockPool::Match BlockPool::match(const PromptBlocks& blocks, std::uint32_t limit,
                                  std::vector<BlockId>& found) const {
  found.clear();
  Match result;
  if (buckets_.empty()) {
    return result;
  }
  const std::uint32_t end = std::min(limit, blocks.size());
  for (std::uint32_t begin = 0; begin < end; begin += kBatch) {
    BlockHash hashes[kBatch];
    const std::uint32_t count = std::min(end - begin, kBatch);
    prefetch(blocks, begin, begin + count, hashes);
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t node = find(hashes[i]);
      if (node == kNone) {
        return result;
      }
      result.idle += nodes_[node].count == 0 ? 1 : 0;
      ++result.blocks;
      found.push_back(BlockId(node));
    }
  }
  return result;
}

void BlockPool::acquire(std::span<const BlockId> blocks) {
  for (const BlockId id : blocks) {
    Node& node = nodes_[id.value()];
    DYN_ASSERT(node.kind == Kind::named, "acquires a block that is not cached");
    if (node.count++ == 0) {
      unlink(id.value());
      --free_;
      --cached_;
    }
  }
}

void BlockPool::take(std::uint64_t count) {
  DYN_ASSERT(count <= free_, "takes more blocks than are free");
  free_ -= count;
  nameless_used_ += count;
  while (count > 0) {
    const std::uint32_t first = head_;
    Node& node = nodes_[first];
    if (node.kind == Kind::nameless && node.count > count) {
      node.count -= static_cast<std::uint32_t>(count);
      return;
    }
    if (node.kind == Kind::nameless) {
      count -= node.count;
    } else {
      if (node.next != kNone && nodes_[node.next].kind == Kind::named) {
        __builtin_prefetch(&buckets_[bucket(nodes_[node.next].hash)]);
      }
      forget(first);
      --cached_;
      --count;
    }
    unlink(first);
    node.kind = Kind::spare;
    spare_.push_back(first);
  }
}

void BlockPool::publish(const PromptBlocks& blocks, std::uint32_t begin, std::uint32_t end,
                        std::vector<BlockId>& named) {
  if (begin >= end) {
    return;
  }
  DYN_ASSERT(nameless_used_ >= end - begin, "publishes a block that nobody took");
  nameless_used_ -= end - begin;
  if (buckets_.empty()) {
    const int bits = static_cast<int>(std::bit_width(total_));
    buckets_.assign(std::size_t{1} << bits, kNone);
    bucket_shift_ = 64 - bits;
  }
  for (; begin < end; begin += kBatch) {
    BlockHash hashes[kBatch];
    const std::uint32_t count = std::min(end - begin, kBatch);
    prefetch(blocks, begin, begin + count, hashes);
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t node = new_node(Kind::named, 1);
      name(node, hashes[i]);
      named.push_back(BlockId(node));
    }
  }
}

void BlockPool::release(std::span<const BlockId> named, std::uint64_t nameless) {
  DYN_ASSERT(nameless <= nameless_used_, "releases more blocks than were taken");
  nameless_used_ -= nameless;
  free_ += nameless;
  append_nameless(nameless);
  for (std::size_t i = named.size(); i-- > 0;) {
    const std::uint32_t id = named[i].value();
    Node& node = nodes_[id];
    DYN_ASSERT(node.kind == Kind::named && node.count > 0, "releases a block that nobody holds");
    if (--node.count == 0) {
      append(id);
      ++free_;
      ++cached_;
    }
  }
}

bool BlockPool::clear() {
  if (used() > 0) {
    return false;
  }
  nodes_.clear();
  spare_.clear();
  std::fill(buckets_.begin(), buckets_.end(), kNone);
  head_ = tail_ = kNone;
  cached_ = 0;
  append_nameless(total_);
  record(KvEvent::Kind::cleared, BlockHash{});
  return true;
}

std::uint32_t BlockPool::new_node(Kind kind, std::uint32_t count) {
  std::uint32_t id = 0;
  if (spare_.empty()) {
    id = static_cast<std::uint32_t>(nodes_.size());
    nodes_.emplace_back();
  } else {
    id = spare_.back();
    spare_.pop_back();
  }
  Node& node = nodes_[id];
  node.previous = node.next = node.next_in_bucket = kNone;
  node.kind = kind;
  node.count = count;
  return id;
}

void BlockPool::append(std::uint32_t id) {
  Node& node = nodes_[id];
  node.previous = tail_;
  node.next = kNone;
  (tail_ == kNone ? head_ : nodes_[tail_].next) = id;
  tail_ = id;
}

void BlockPool::unlink(std::uint32_t id) {
  const Node& node = nodes_[id];
  (node.previous == kNone ? head_ : nodes_[node.previous].next) = node.next;
  (node.next == kNone ? tail_ : nodes_[node.next].previous) = node.previous;
}

void BlockPool::append_nameless(std::uint64_t count) {
  if (count == 0) {
    return;
  }
  if (tail_ != kNone && nodes_[tail_].kind == Kind::nameless) {
    nodes_[tail_].count += static_cast<std::uint32_t>(count);
    return;
  }
  append(new_node(Kind::nameless, static_cast<std::uint32_t>(count)));
}

std::size_t BlockPool::bucket(BlockHash hash) const {
  // Fibonacci hashing, since an owner's hashes need not be random.
  return static_cast<std::size_t>((key(hash) * 0x9E3779B97F4A7C15ULL) >> bucket_shift_);
}

void BlockPool::prefetch(const PromptBlocks& blocks, std::uint32_t begin, std::uint32_t end,
                         BlockHash (&hashes)[kBatch]) const {
  for (std::uint32_t i = begin; i < end; ++i) {
    hashes[i - begin] = blocks[i];
    __builtin_prefetch(&buckets_[bucket(hashes[i - begin])]);
  }
}

std::uint32_t BlockPool::find(BlockHash hash) const {
  std::uint32_t node = buckets_[bucket(hash)];
  while (node != kNone && nodes_[node].hash != hash) {
    node = nodes_[node].next_in_bucket;
  }
  return node;
}

/// Puts the node at the end of its bucket, behind older copies.
void BlockPool::name(std::uint32_t id, BlockHash hash) {
  nodes_[id].hash = hash;
  std::uint32_t* link = &buckets_[bucket(hash)];
  bool first = true;
  while (*link != kNone) {
    first = first && nodes_[*link].hash != hash;
    link = &nodes_[*link].next_in_bucket;
  }
  *link = id;
  if (first) {
    record(KvEvent::Kind::stored, hash);
  }
}

/// Takes the node out of its bucket.
void BlockPool::forget(std::uint32_t id) {
  const Node& node = nodes_[id];
  std::uint32_t* link = &buckets_[bucket(node.hash)];
  bool last = true;
  while (*link != id) {
    last = last && nodes_[*link].hash != node.hash;
    link = &nodes_[*link].next_in_bucket;
  }
  *link = node.next_in_bucket;
  for (std::uint32_t other = *link; last && other != kNone; other = nodes_[other].next_in_bucket) {
    last = nodes_[other].hash != node.hash;
  }
  if (last) {
    record(KvEvent::Kind::removed, node.hash);
  }
}

void BlockPool::record(KvEvent::Kind kind, BlockHash hash) {
  if (recording_) {
    events_.push_back({kind, hash});
  }
}

void BlockPool::check_invariants(std::uint64_t references, std::uint64_t nameless) const {
  DYN_ASSERT(nameless == nameless_used_, "nameless blocks are lost or invented");
  std::uint64_t held = 0;
  std::uint64_t referenced = 0;
  std::uint64_t named = 0;
  for (const Node& node : nodes_) {
    if (node.kind == Kind::named) {
      ++named;
      held += node.count;
      referenced += node.count > 0 ? 1 : 0;
    }
  }
  DYN_ASSERT(held == references, "references are lost or invented");
  DYN_ASSERT(used() == referenced + nameless_used_, "used blocks do not add up");
  DYN_ASSERT(named == referenced + cached_, "cached blocks do not add up");
  std::uint64_t listed = 0;
  std::uint64_t listed_named = 0;
  std::uint32_t before = kNone;
  for (std::uint32_t id = head_; id != kNone; id = nodes_[id].next) {
    const Node& node = nodes_[id];
    DYN_ASSERT(node.previous == before, "the free list is torn");
    DYN_ASSERT(node.kind == Kind::nameless || node.count == 0, "a referenced block is free");
    listed += node.kind == Kind::nameless ? node.count : 1;
    listed_named += node.kind == Kind::named ? 1 : 0;
    before = id;
  }
  DYN_ASSERT(before == tail_, "the free list has the wrong end");
  DYN_ASSERT(listed == free_ && listed_named == cached_, "free blocks do not add up");
  std::uint64_t bucketed = 0;
  for (const std::uint32_t first : buckets_) {
    for (std::uint32_t id = first; id != kNone; id = nodes_[id].next_in_bucket) {
      DYN_ASSERT(nodes_[id].kind == Kind::named, "the map knows a block that is gone");
      ++bucketed;
    }
  }
  DYN_ASSERT(bucketed == named, "a named block is not in the map");
}

}  // namespace dyn::kvbm
