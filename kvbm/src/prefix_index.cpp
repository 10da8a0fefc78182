#include "dyn/kvbm/prefix_index.h"

#include <algorithm>
#include <bit>

#include "dyn/core/check.h"

namespace dyn::kvbm {

namespace {

std::uint64_t key(BlockHash hash) {
  return static_cast<std::uint64_t>(hash);
}

/// Calls `visit(worker)` for each set bit of word `w`.
template <class Visit>
void each_bit(std::uint64_t word, std::uint32_t w, Visit visit) {
  for (; word != 0; word &= word - 1) {
    visit(w * 64 + static_cast<std::uint32_t>(std::countr_zero(word)));
  }
}

}  // namespace

PrefixIndex::PrefixIndex(std::uint32_t workers, std::uint64_t max_blocks)
    : workers_(workers),
      words_((workers + 63) / 64),
      max_blocks_(std::min<std::uint64_t>(max_blocks, 0xffffffffULL)),
      per_worker_(workers, 0),
      alive_(words_, 0) {
  DYN_ASSERT(workers > 0 && max_blocks > 0, "an index of nothing");
}

void PrefixIndex::stored(WorkerId worker, BlockHash hash) {
  DYN_ASSERT(worker.value() < workers_, "no such worker");
  const std::uint32_t* known = map_.find(key(hash));
  const std::uint32_t entry = known != nullptr ? *known : new_entry(hash);
  std::uint64_t& word = bits(entry)[worker.value() / 64];
  const std::uint64_t bit = 1ULL << (worker.value() % 64);
  per_worker_[worker.value()] += (word & bit) == 0 ? 1 : 0;
  word |= bit;
}

void PrefixIndex::removed(WorkerId worker, BlockHash hash) {
  DYN_ASSERT(worker.value() < workers_, "no such worker");
  const std::uint32_t* known = map_.find(key(hash));
  if (known == nullptr) {
    return;
  }
  const std::uint32_t entry = *known;
  std::uint64_t* words = bits(entry);
  const std::uint64_t bit = 1ULL << (worker.value() % 64);
  if ((words[worker.value() / 64] & bit) == 0) {
    return;
  }
  words[worker.value() / 64] &= ~bit;
  --per_worker_[worker.value()];
  if (std::all_of(words, words + words_, [](std::uint64_t word) { return word == 0; })) {
    erase(entry);
  }
}

void PrefixIndex::remove_worker(WorkerId worker) {
  DYN_ASSERT(worker.value() < workers_, "no such worker");
  for (std::uint32_t entry = 0; per_worker_[worker.value()] > 0; ++entry) {
    removed(worker, hashes_[entry]);
  }
}

void PrefixIndex::apply(WorkerId worker, const KvEvent& event) {
  switch (event.kind) {
    case KvEvent::Kind::stored:
      return stored(worker, event.hash);
    case KvEvent::Kind::removed:
      return removed(worker, event.hash);
    case KvEvent::Kind::cleared:
      return remove_worker(worker);
  }
}

void PrefixIndex::leading_runs(const PromptBlocks& blocks, std::span<std::uint32_t> runs,
                               std::uint32_t stride) {
  DYN_ASSERT(runs.size() == workers_, "one run per worker");
  std::fill(runs.begin(), runs.end(), 0);
  std::fill(alive_.begin(), alive_.end(), ~0ULL);
  alive_.back() >>= (64 - workers_ % 64) % 64;
  bool any = true;
  std::uint32_t i = 0;
  for (const std::uint32_t end = blocks.size() / stride; any && i < end; ++i) {
    const std::uint32_t* entry = map_.find(key(blocks[(i + 1) * stride - 1]));
    if (entry == nullptr) {
      break;
    }
    found_[*entry] = 1;
    const std::uint64_t* words = bits(*entry);
    any = false;
    for (std::uint32_t w = 0; w < words_; ++w) {
      each_bit(alive_[w] & ~words[w], w, [&](std::uint32_t worker) { runs[worker] = i; });
      alive_[w] &= words[w];
      any = any || alive_[w] != 0;
    }
  }
  for (std::uint32_t w = 0; w < words_; ++w) {
    each_bit(alive_[w], w, [&](std::uint32_t worker) { runs[worker] = i; });
  }
}

std::uint64_t PrefixIndex::bytes() const {
  return map_.bytes() + hashes_.capacity() * sizeof(BlockHash) +
         bits_.capacity() * sizeof(std::uint64_t) + found_.capacity() +
         spare_.capacity() * sizeof(std::uint32_t) + per_worker_.capacity() * sizeof(std::uint64_t);
}

std::uint32_t PrefixIndex::new_entry(BlockHash hash) {
  if (map_.size() >= max_blocks_) {
    evict_one();
  }
  std::uint32_t entry = 0;
  if (spare_.empty()) {
    entry = static_cast<std::uint32_t>(hashes_.size());
    hashes_.push_back(hash);
    bits_.resize(bits_.size() + words_, 0);
    found_.push_back(0);
  } else {
    entry = spare_.back();
    spare_.pop_back();
    hashes_[entry] = hash;
    found_[entry] = 0;
  }
  map_.insert(key(hash), entry);
  return entry;
}

void PrefixIndex::erase(std::uint32_t entry) {
  map_.erase(key(hashes_[entry]));
  spare_.push_back(entry);
}

void PrefixIndex::evict_one() {
  // Only called when full, so that no entry is spare: each is in the map.
  while (found_[hand_] != 0) {
    found_[hand_] = 0;
    hand_ = (hand_ + 1) % static_cast<std::uint32_t>(hashes_.size());
  }
  std::uint64_t* words = bits(hand_);
  for (std::uint32_t w = 0; w < words_; ++w) {
    each_bit(words[w], w, [&](std::uint32_t worker) { --per_worker_[worker]; });
    words[w] = 0;
  }
  erase(hand_);
  hand_ = (hand_ + 1) % static_cast<std::uint32_t>(hashes_.size());
  ++evictions_;
}

void PrefixIndex::check_invariants() const {
  DYN_ASSERT(map_.size() <= max_blocks_, "the index has outgrown its bound");
  DYN_ASSERT(map_.size() + spare_.size() == hashes_.size(), "entries are lost");
  std::vector<std::uint64_t> counted(workers_, 0);
  std::uint64_t known = 0;
  for (std::uint32_t entry = 0; entry < hashes_.size(); ++entry) {
    bool any = false;
    for (std::uint32_t w = 0; w < words_; ++w) {
      any = any || bits(entry)[w] != 0;
      each_bit(bits(entry)[w], w, [&](std::uint32_t worker) { ++counted[worker]; });
    }
    if (any) {
      ++known;
      const std::uint32_t* mapped = map_.find(key(hashes_[entry]));
      DYN_ASSERT(mapped != nullptr && *mapped == entry, "a known block is not in the map");
    }
  }
  DYN_ASSERT(known == map_.size(), "the map knows a block that nobody has");
  DYN_ASSERT(counted == per_worker_, "blocks per worker do not add up");
}

}  // namespace dyn::kvbm
