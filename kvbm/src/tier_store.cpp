#include "dyn/kvbm/tier_store.h"

#include "dyn/core/check.h"

namespace dyn::kvbm {

TierStore::TierStore(std::uint64_t capacity, EvictionKind eviction, const RecomputeCost& cost)
    : capacity_(capacity), evictor_(make_evictor(eviction, capacity, cost)) {
  DYN_ASSERT(capacity < kNoEntry, "a tier has fewer than 2^32 - 1 blocks");
}

Entry TierStore::readable(BlockHash hash) const {
  const Entry* entry = entries_.find(key(hash));
  return entry != nullptr && blocks_[*entry].full ? *entry : kNoEntry;
}

Entry TierStore::reserve(const BlockUse& use, std::uint32_t uses, std::vector<Left>& left) {
  if (entries_.size() == capacity_) {
    if (!evictor_->admits(use)) {
      return kNoEntry;
    }
    const Entry victim = evictor_->evict();
    if (victim == kNoEntry) {
      return kNoEntry;
    }
    left.push_back({blocks_[victim].use, blocks_[victim].uses});
    ++evictions_;
    record(KvEvent::Kind::removed, blocks_[victim].use.hash);
    drop(victim);
  }
  Entry entry = 0;
  if (spare_.empty()) {
    entry = static_cast<Entry>(blocks_.size());
    blocks_.emplace_back();
  } else {
    entry = spare_.back();
    spare_.pop_back();
  }
  DYN_ASSERT(entries_.insert(key(use.hash), entry).second, "a tier has a block once");
  blocks_[entry] = {use, uses, 0, true, false};
  evictor_->insert(entry, use);
  pin(entry);
  return entry;
}

/// Out of everything but the evictor.
void TierStore::drop(Entry entry) {
  Block& block = blocks_[entry];
  DYN_ASSERT(block.inside && block.pins == 0, "a pinned block leaves");
  entries_.erase(key(block.use.hash));
  block.inside = false;
  spare_.push_back(entry);
}

void TierStore::fill(Entry entry) {
  DYN_ASSERT(blocks_[entry].inside && !blocks_[entry].full, "only an empty block is filled");
  blocks_[entry].full = true;
  record(KvEvent::Kind::stored, blocks_[entry].use.hash);
  unpin(entry);
}

void TierStore::abandon(Entry entry) {
  DYN_ASSERT(blocks_[entry].inside && !blocks_[entry].full, "a block that arrived is kept");
  unpin(entry);
  evictor_->remove(entry);
  drop(entry);
}

void TierStore::pin(Entry entry) {
  ++pins_;
  if (blocks_[entry].pins++ == 0) {
    ++pinned_;
    evictor_->pin(entry, true);
  }
}

void TierStore::unpin(Entry entry) {
  DYN_ASSERT(blocks_[entry].pins > 0, "unpins a block that is not pinned");
  --pins_;
  if (--blocks_[entry].pins == 0) {
    --pinned_;
    evictor_->pin(entry, false);
  }
}

std::uint32_t TierStore::touch(const BlockUse& use) {
  const Entry* entry = entries_.find(key(use.hash));
  if (entry == nullptr) {
    return 0;
  }
  Block& block = blocks_[*entry];
  block.use = use;
  evictor_->hit(*entry, use);
  return ++block.uses;
}

void TierStore::check_invariants() const {
  evictor_->check_invariants();
  std::uint64_t inside = 0;
  std::uint64_t pins = 0;
  std::uint64_t pinned = 0;
  for (Entry entry = 0; entry < blocks_.size(); ++entry) {
    const Block& block = blocks_[entry];
    if (!block.inside) {
      DYN_ASSERT(block.pins == 0, "a block that left is pinned");
      continue;
    }
    ++inside;
    pins += block.pins;
    pinned += block.pins > 0 ? 1 : 0;
    const Entry* found = entries_.find(key(block.use.hash));
    DYN_ASSERT(found != nullptr && *found == entry, "a tier cannot find its block");
    DYN_ASSERT(block.full || block.pins == 1, "an empty block is pinned by who fills it");
  }
  DYN_ASSERT(inside == entries_.size() && inside == evictor_->size(), "a tier has lost a block");
  DYN_ASSERT(inside <= capacity_, "a tier has more blocks than fit");
  DYN_ASSERT(inside + spare_.size() == blocks_.size(), "a tier has lost an entry");
  DYN_ASSERT(pins == pins_ && pinned == pinned_, "pins do not add up");
}

}  // namespace dyn::kvbm
