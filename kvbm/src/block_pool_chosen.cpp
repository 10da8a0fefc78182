// A pool whose cached blocks leave as an evictor chooses: block by block.
#include <utility>

#include "dyn/core/check.h"
#include "dyn/kvbm/block_pool.h"

namespace dyn::kvbm {

void BlockPool::name_each(const BlockRange& range, bool told, HeldBlocks& held) {
  for (std::uint32_t at = range.first; at < range.end(); ++at) {
    const std::uint32_t id = new_node(Kind::named, at, at + 1);
    Node& node = nodes_[id];
    node.segment = range.segment;
    node.told = told;
    node.references = 1;
    uses_.resize(nodes_.size());
    BlockUse& use = uses_[id] = {nth_block(range.segment, at)};
    if (!held.pieces_.empty()) {  // each has one block
      const BlockUse& before = uses_[held.pieces_.back().node];
      use.parent = before.hash;
      use.position = before.position + 1;
    }
    const auto [first, alone] = segments_.insert(key(use.hash), id);
    if (alone) {
      enter(id);
      record_one(KvEvent::Kind::stored, id);
    } else if (nodes_[*first].references == 0) {  // takes its place
      const std::uint32_t old = *first;
      *first = id;
      --cached_;
      evictor_->remove(old);
      enter(id);
      evictor_->hit(id, use);
      let_go(old);
    } else {
      std::uint32_t copy = *first;
      while (nodes_[copy].next_copy != kNone) {
        copy = nodes_[copy].next_copy;
      }
      nodes_[copy].next_copy = id;
    }
    held.pieces_.push_back({id, at, at + 1});
  }
}

/// Puts the block among those of the evictor.
void BlockPool::enter(std::uint32_t id) {
  evictor_->insert(id, uses_[id]);
  evictor_->pin(id, nodes_[id].references > 0);
}

/// The block is free and has nothing of worth.
void BlockPool::let_go(std::uint32_t id) {
  nodes_[id].kind = Kind::spare;
  spare_.push_back(id);
  append_nameless(1);
}

void BlockPool::acquire_each(const HeldBlocks& blocks) {
  for (std::size_t i = blocks.pieces_.size(); i-- > 0;) {  // prefixes are to outlive the rest
    const std::uint32_t id = blocks.pieces_[i].node;
    DYN_ASSERT(nodes_[id].kind == Kind::named, "acquires a block that is not cached");
    if (nodes_[id].references++ == 0) {
      --free_;
      --cached_;
      evictor_->pin(id, true);
    }
    evictor_->hit(id, uses_[id]);
  }
}

void BlockPool::release_each(const HeldBlocks& held) {
  for (std::size_t i = held.pieces_.size(); i-- > 0;) {
    const std::uint32_t id = held.pieces_[i].node;
    DYN_ASSERT(nodes_[id].kind == Kind::named && nodes_[id].references > 0,
               "releases a block that nobody holds");
    if (--nodes_[id].references == 0) {
      ++free_;
      leave(id);
    }
  }
}

/// Nobody holds the block any more: it stays cached if there is no other copy.
void BlockPool::leave(std::uint32_t id) {
  std::uint32_t* link = segments_.find(key(uses_[id].hash));
  const std::uint32_t next = nodes_[id].next_copy;
  if (*link == id) {
    evictor_->pin(id, false);
    if (next == kNone) {
      ++cached_;
      return;
    }
    evictor_->remove(id);
    *link = next;
    enter(next);
  } else {
    while (*link != id) {
      link = &nodes_[*link].next_copy;
    }
    *link = next;
  }
  let_go(id);
}

/// Takes the cached block that is worth least. Where each that nobody holds is followed by one that
/// somebody does, which cost_aware keeps for its sake, it is the one farthest from its beginning.
void BlockPool::evict_chosen() {
  Entry id = evictor_->evict();
  if (id == kNoEntry) {
    for (std::uint32_t node = 0; node < nodes_.size(); ++node) {
      const bool may = nodes_[node].kind == Kind::named && nodes_[node].references == 0;
      const auto place = [this](Entry at) { return std::pair(uses_[at].position, uses_[at].hash); };
      if (may && (id == kNoEntry || place(node) > place(id))) {
        id = node;
      }
    }
    DYN_ASSERT(id != kNoEntry, "no block can leave");
    evictor_->remove(id);
  }
  --cached_;
  record_one(KvEvent::Kind::removed, id);
  segments_.erase(key(uses_[id].hash));
  nodes_[id].kind = Kind::spare;
  spare_.push_back(id);
}

void BlockPool::record_one(KvEvent::Kind kind, std::uint32_t id) {
  if (recording_ && nodes_[id].told) {
    events_.push_back({kind, nodes_[id].segment, nodes_[id].first, 1});
  }
}

void BlockPool::check_each() const {
  evictor_->check_invariants();
  DYN_ASSERT(evictor_->size() == segments_.size(), "the evictor has lost a block");
  for (const Node& node : nodes_) {
    DYN_ASSERT(node.kind != Kind::named || node.references > 0 || node.next_copy == kNone,
               "a block that nobody holds has another copy");
  }
}

}  // namespace dyn::kvbm
