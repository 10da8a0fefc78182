#include "dyn/kvbm/block_pool.h"

#include <algorithm>

#include "dyn/core/check.h"

namespace dyn::kvbm {

BlockPool::BlockPool(std::uint64_t blocks, EvictionKind eviction, const RecomputeCost& cost)
    : total_(blocks), free_(blocks), eviction_(eviction), cost_(cost) {
  DYN_ASSERT(blocks < kNone, "a pool has fewer than 2^32 - 1 blocks");
  DYN_ASSERT(eviction != EvictionKind::belady, "a device does not know the future");
  if (eviction != EvictionKind::lru && blocks > 0) {
    evictor_ = make_evictor(eviction, blocks, cost);
  }
  append_nameless(blocks);
}

BlockPool::Match BlockPool::match(const PromptBlocks& blocks, std::uint32_t limit,
                                  HeldBlocks& found) const {
  found.clear();
  Match result;
  blocks.each_range(0, limit, [&](const BlockRange& range) {
    const std::uint32_t first = first_copy(range.segment);
    std::uint32_t at = range.first;
    while (at < range.end()) {
      std::uint32_t end = range.end();
      const std::uint32_t copy = find(range.segment, first, at, end);
      if (copy == kNone) {
        break;
      }
      found.pieces_.push_back({copy, at, end});
      result.blocks += end - at;
      result.idle += nodes_[copy].references == 0 ? end - at : 0;
      at = end;
    }
    return at == range.end();
  });
  found.size_ = result.blocks;
  return result;
}

std::uint32_t BlockPool::find(BlockHash segment, std::uint32_t first, std::uint32_t at,
                              std::uint32_t& end) const {
  if (evictor_ == nullptr) {
    return copy_with(first, at, end);
  }
  end = at + 1;
  const std::uint32_t* node = segments_.find(key(nth_block(segment, at)));
  return node != nullptr ? *node : kNone;
}

std::uint32_t BlockPool::first_copy(BlockHash segment) const {
  if (evictor_ != nullptr) {
    return kNone;
  }
  const std::uint32_t* first = segments_.find(key(segment));
  return first != nullptr ? *first : kNone;
}

std::uint32_t BlockPool::copy_with(std::uint32_t copy, std::uint32_t at, std::uint32_t& end) const {
  for (; copy != kNone; copy = nodes_[copy].next_copy) {
    const Node& node = nodes_[copy];
    if (node.first <= at && at < node.end) {
      end = std::min(end, node.end);
      break;
    }
    end = node.first > at ? std::min(end, node.first) : end;
  }
  return copy;
}

void BlockPool::cached_runs(const PromptBlocks& blocks, std::uint32_t limit, std::uint32_t offset,
                            std::vector<Run>& runs) const {
  std::uint32_t block = offset;
  blocks.each_range(0, limit, [&](const BlockRange& range) {
    const std::uint32_t first = first_copy(range.segment);
    for (std::uint32_t at = range.first; at < range.end();) {
      std::uint32_t end = range.end();
      const bool found = find(range.segment, first, at, end) != kNone;
      if (found && !runs.empty() && runs.back().end == block) {
        runs.back().end += end - at;
      } else if (found) {
        runs.push_back({block, block + end - at});
      }
      block += end - at;
      at = end;
    }
    return true;
  });
}

std::uint32_t BlockPool::match_range(const PromptBlocks& blocks, std::uint32_t begin,
                                     std::uint32_t end, HeldBlocks& found) const {
  std::uint32_t idle = 0;
  blocks.each_range(begin, end, [&](const BlockRange& range) {
    const std::uint32_t first = first_copy(range.segment);
    for (std::uint32_t at = range.first; at < range.end();) {
      std::uint32_t stop = range.end();
      const std::uint32_t copy = find(range.segment, first, at, stop);
      DYN_ASSERT(copy != kNone, "a block that should be cached is not");
      found.pieces_.push_back({copy, at, stop});
      idle += nodes_[copy].references == 0 ? stop - at : 0;
      at = stop;
    }
    return true;
  });
  found.size_ += begin < end ? end - begin : 0;
  return idle;
}

void BlockPool::acquire(HeldBlocks& blocks) {
  if (evictor_ != nullptr) {
    return acquire_each(blocks);
  }
  for (HeldBlocks::Piece& piece : blocks.pieces_) {
    // The piece lies within one node, unless one before it has split that.
    std::uint32_t id = node_at(piece, piece.first);
    DYN_ASSERT(nodes_[id].kind == Kind::named && piece.end <= nodes_[id].end,
               "acquires a block that is not cached");
    if (nodes_[id].first < piece.first) {
      split(id, piece.first);
      id = nodes_[id].rest;
    }
    if (piece.end < nodes_[id].end) {
      split(id, piece.end);
    }
    piece.node = id;
    if (nodes_[id].references++ == 0) {
      unlink(id);
      free_ -= nodes_[id].count();
      cached_ -= nodes_[id].count();
    }
  }
}

void BlockPool::take(std::uint64_t count) {
  DYN_ASSERT(count <= free_, "takes more blocks than are free");
  free_ -= count;
  nameless_used_ += count;
  while (count > 0) {
    const std::uint32_t first = head_;
    if (first == kNone) {  // where an evictor chooses, that is: the list has no cached blocks then
      evict_chosen();
      --count;
      continue;
    }
    const auto taken =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(count, nodes_[first].count()));
    count -= taken;
    if (nodes_[first].kind == Kind::named) {
      evict(first, taken);
    }
    nodes_[first].end -= taken;
    if (nodes_[first].count() == 0) {
      unlink(first);
      nodes_[first].kind = Kind::spare;
      spare_.push_back(first);
    }
  }
}

void BlockPool::publish(const PromptBlocks& blocks, std::uint32_t begin, std::uint32_t end,
                        HeldBlocks& held) {
  if (begin >= end) {
    return;
  }
  DYN_ASSERT(nameless_used_ >= end - begin, "publishes a block that nobody took");
  nameless_used_ -= end - begin;
  blocks.each_range(begin, end, [&](const BlockRange& range) {
    evictor_ == nullptr ? name(range, blocks.is_told(), held)
                        : name_each(range, blocks.is_told(), held);
    return true;
  });
  held.size_ += end - begin;
}

void BlockPool::release_front(HeldBlocks& held, std::uint32_t count) {
  DYN_ASSERT(count <= held.size_, "releases more blocks than are held");
  HeldBlocks front;
  front.size_ = count;
  held.size_ -= count;
  std::size_t whole = 0;
  for (std::uint32_t left = count; left > 0;) {
    HeldBlocks::Piece& piece = held.pieces_[whole];
    front.pieces_.push_back(piece);
    if (piece.end - piece.first <= left) {
      left -= piece.end - piece.first;
      ++whole;
      continue;
    }
    const std::uint32_t at = piece.first + left;
    if (const std::uint32_t id = node_at(piece, at - 1); nodes_[id].end > at) {
      split(id, at);
    }
    front.pieces_.back().end = at;
    piece = {node_at(piece, at), at, piece.end};
    left = 0;
  }
  held.pieces_.erase(held.pieces_.begin(),
                     held.pieces_.begin() + static_cast<std::ptrdiff_t>(whole));
  release(front, 0);
}

void BlockPool::release(const HeldBlocks& held, std::uint64_t nameless) {
  DYN_ASSERT(nameless <= nameless_used_, "releases more blocks than were taken");
  nameless_used_ -= nameless;
  free_ += nameless;
  append_nameless(nameless);
  if (evictor_ != nullptr) {
    return release_each(held);
  }
  for (std::size_t i = held.pieces_.size(); i-- > 0;) {
    const HeldBlocks::Piece& piece = held.pieces_[i];
    scratch_.clear();
    for (std::uint32_t at = piece.first, id = piece.node; at < piece.end; id = nodes_[id].rest) {
      DYN_ASSERT(id != kNone && nodes_[id].kind == Kind::named && nodes_[id].references > 0 &&
                     nodes_[id].first == at && nodes_[id].end <= piece.end,
                 "releases a block that nobody holds");
      scratch_.push_back(id);
      at = nodes_[id].end;
    }
    for (std::size_t n = scratch_.size(); n-- > 0;) {
      Node& node = nodes_[scratch_[n]];
      if (--node.references == 0) {
        free_ += node.count();
        cached_ += node.count();
        append_named(scratch_[n]);
      }
    }
  }
}

bool BlockPool::clear() {
  if (used() > 0) {
    return false;
  }
  nodes_.clear();
  spare_.clear();
  segments_.clear();
  head_ = tail_ = kNone;
  cached_ = 0;
  if (evictor_ != nullptr) {
    evictor_ = make_evictor(eviction_, total_, cost_);
  }
  append_nameless(total_);
  if (recording_) {
    events_.push_back({KvEvent::Kind::cleared});
  }
  return true;
}

std::uint32_t BlockPool::new_node(Kind kind, std::uint32_t first, std::uint32_t end) {
  std::uint32_t id = 0;
  if (spare_.empty()) {
    id = static_cast<std::uint32_t>(nodes_.size());
    nodes_.emplace_back();
  } else {
    id = spare_.back();
    spare_.pop_back();
    nodes_[id] = Node{};
  }
  Node& node = nodes_[id];
  node.kind = kind;
  node.first = first;
  node.end = end;
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
    nodes_[tail_].end += static_cast<std::uint32_t>(count);
    return;
  }
  append(new_node(Kind::nameless, 0, static_cast<std::uint32_t>(count)));
}

/// Appends blocks that nobody holds any more to the free list; to the entry at its end where
/// they go on before that one's.
void BlockPool::append_named(std::uint32_t id) {
  Node& node = nodes_[id];
  const std::uint32_t last = tail_;
  append(id);
  if (last != kNone && node.next_copy == last && nodes_[last].first == node.end &&
      nodes_[last].segment == node.segment) {
    node.end = nodes_[last].end;
    node.next_copy = nodes_[last].next_copy;
    unlink(last);
    nodes_[last].kind = Kind::spare;
    spare_.push_back(last);
  }
}

/// Cuts a node in two, the second of which is its `rest`.
void BlockPool::split(std::uint32_t id, std::uint32_t at) {
  const std::uint32_t second = new_node(Kind::named, at, nodes_[id].end);
  Node& node = nodes_[id];
  Node& other = nodes_[second];
  other.segment = node.segment;
  other.told = node.told;
  other.references = node.references;
  other.next_copy = node.next_copy;
  other.rest = node.rest;
  node.end = at;
  node.next_copy = second;
  node.rest = second;
  if (node.references == 0) {  // the second is taken first
    other.previous = node.previous;
    other.next = id;
    (node.previous == kNone ? head_ : nodes_[node.previous].next) = second;
    node.previous = second;
  }
}

/// The node of a piece that has a block of it.
std::uint32_t BlockPool::node_at(const HeldBlocks::Piece& piece, std::uint32_t block) const {
  std::uint32_t id = piece.node;
  while (nodes_[id].end <= block) {
    id = nodes_[id].rest;
    DYN_ASSERT(id != kNone, "a piece has lost its blocks");
  }
  return id;
}

/// Adds the blocks of a range to those of its segment, behind older copies.
void BlockPool::name(const BlockRange& range, bool told, HeldBlocks& held) {
  if (!held.pieces_.empty()) {
    // A node that only this request holds, and named last, just grows.
    HeldBlocks::Piece& last = held.pieces_.back();
    Node& node = nodes_[node_at(last, last.end - 1)];
    if (node.segment == range.segment && node.end == range.first && last.end == range.first &&
        node.references == 1 && node.next_copy == kNone) {
      node.end = range.end();
      last.end = range.end();
      record(KvEvent::Kind::stored, static_cast<std::uint32_t>(&node - nodes_.data()), range.first);
      return;
    }
  }
  const std::uint32_t id = new_node(Kind::named, range.first, range.end());
  nodes_[id].segment = range.segment;
  nodes_[id].told = told;
  nodes_[id].references = 1;
  const auto [first, alone] = segments_.insert(key(range.segment), id);
  if (!alone) {
    std::uint32_t copy = *first;
    while (nodes_[copy].next_copy != kNone) {
      copy = nodes_[copy].next_copy;
    }
    nodes_[copy].next_copy = id;
  }
  held.pieces_.push_back({id, range.first, range.end()});
  record(KvEvent::Kind::stored, id, range.first);
}

/// Takes the node out of the list of its segment's.
void BlockPool::remove_copy(std::uint32_t id) {
  const Node& node = nodes_[id];
  std::uint32_t* link = segments_.find(key(node.segment));
  if (*link == id && node.next_copy == kNone) {
    segments_.erase(key(node.segment));
    return;
  }
  while (*link != id) {
    link = &nodes_[*link].next_copy;
  }
  *link = node.next_copy;
}

/// The last `count` blocks of a node are taken for something else.
void BlockPool::evict(std::uint32_t id, std::uint32_t count) {
  cached_ -= count;
  record(KvEvent::Kind::removed, id, nodes_[id].end - count);
  if (count == nodes_[id].count()) {
    remove_copy(id);
  }
}

/// Records that the blocks of a node from `first` on are stored or removed, those excepted of
/// which there is another copy.
void BlockPool::record(KvEvent::Kind kind, std::uint32_t id, std::uint32_t first) {
  if (!recording_ || !nodes_[id].told) {
    return;
  }
  const Node& node = nodes_[id];
  const std::uint32_t oldest = *segments_.find(key(node.segment));
  const std::size_t before = events_.size();
  for (std::uint32_t at = first; at < node.end;) {
    // Up to where the next copy begins, or on to the end of the one that has the block.
    std::uint32_t end = node.end;
    bool alone = true;
    for (std::uint32_t copy = oldest; copy != kNone; copy = nodes_[copy].next_copy) {
      const Node& other = nodes_[copy];
      if (copy == id || other.end <= at || other.first >= node.end) {
        continue;
      }
      if (other.first <= at) {
        alone = false;
        end = std::min(other.end, node.end);
        break;
      }
      end = std::min(end, other.first);
    }
    if (alone) {
      events_.push_back({kind, node.segment, at, end - at});
    }
    at = end;
  }
  if (kind == KvEvent::Kind::removed) {
    std::reverse(events_.begin() + static_cast<std::ptrdiff_t>(before), events_.end());
  }
}

void BlockPool::check_invariants(std::uint64_t references, std::uint64_t nameless) const {
  DYN_ASSERT(nameless == nameless_used_, "nameless blocks are lost or invented");
  std::uint64_t held = 0;
  std::uint64_t referenced = 0;
  std::uint64_t named = 0;
  std::uint64_t nodes = 0;
  std::uint64_t found = 0;
  for (std::uint32_t id = 0; id < nodes_.size(); ++id) {
    const Node& node = nodes_[id];
    if (node.kind != Kind::named) {
      continue;
    }
    DYN_ASSERT(node.first < node.end, "a node without blocks");
    ++nodes;
    named += node.count();
    held += std::uint64_t{node.references} * node.count();
    referenced += node.references > 0 ? node.count() : 0;
    const BlockHash name = evictor_ == nullptr ? node.segment : nth_block(node.segment, node.first);
    const std::uint32_t* first = segments_.find(key(name));
    DYN_ASSERT(first != nullptr, "a named block is not in the map");
    for (std::uint32_t copy = *first; copy != kNone; copy = nodes_[copy].next_copy) {
      DYN_ASSERT(nodes_[copy].kind == Kind::named && nodes_[copy].segment == node.segment,
                 "the map knows a block that is gone");
      found += copy == id ? 1 : 0;
    }
  }
  DYN_ASSERT(found == nodes, "a named block is not among its segment's");
  DYN_ASSERT(held == references, "references are lost or invented");
  DYN_ASSERT(used() == referenced + nameless_used_, "used blocks do not add up");
  DYN_ASSERT(named == referenced + cached_, "cached blocks do not add up");
  std::uint64_t listed = 0;
  std::uint64_t listed_named = 0;
  std::uint32_t before = kNone;
  for (std::uint32_t id = head_; id != kNone; id = nodes_[id].next) {
    const Node& node = nodes_[id];
    DYN_ASSERT(node.previous == before, "the free list is torn");
    DYN_ASSERT(node.kind != Kind::spare && node.references == 0, "a referenced block is free");
    listed += node.count();
    listed_named += node.kind == Kind::named ? node.count() : 0;
    before = id;
  }
  DYN_ASSERT(before == tail_, "the free list has the wrong end");
  if (evictor_ != nullptr) {
    DYN_ASSERT(listed_named == 0, "the evictor's blocks are in the free list");
    listed += cached_;
    listed_named = cached_;
    check_each();
  }
  DYN_ASSERT(listed == free_ && listed_named == cached_, "free blocks do not add up");
}

}  // namespace dyn::kvbm
