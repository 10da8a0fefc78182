#include "dyn/kvbm/tier_index.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "dyn/core/check.h"

namespace dyn::kvbm {

TierIndex::TierIndex(std::uint32_t workers, const std::vector<bool>& shared,
                     std::uint64_t max_blocks)
    : workers_(workers),
      words_((workers + 63) / 64),
      order_(workers),
      since_(workers, 0),
      falling_(words_, 0) {
  for (const bool one : shared) {
    tiers_.push_back({PrefixIndex(one ? 1 : workers, max_blocks), one});
    tiers_.back().at.assign(words_, 0);
  }
}

void TierIndex::apply(WorkerId worker, const KvEvent& event) {
  DYN_ASSERT(event.tier >= 1 && event.tier <= tiers_.size(), "no such tier");
  Tier& tier = tiers_[event.tier - 1];
  tier.index.apply(tier.shared ? WorkerId(0) : worker, event);
}

void TierIndex::remove_worker(WorkerId worker) {
  for (Tier& tier : tiers_) {
    if (!tier.shared) {
      tier.index.remove_worker(worker);
    }
  }
}

void TierIndex::continue_runs(const PromptBlocks& blocks, std::span<const std::uint32_t> device,
                              std::span<std::uint32_t> runs) {
  DYN_ASSERT(device.size() == workers_ && runs.size() == workers_ * tiers_.size(),
             "one run per worker and tier");
  std::fill(runs.begin(), runs.end(), 0);
  std::iota(order_.begin(), order_.end(), 0U);
  std::stable_sort(order_.begin(), order_.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return device[a] < device[b]; });
  entered_ = 0;
  while (entered_ < workers_ && device[order_[entered_]] < blocks.size()) {
    std::uint32_t i = device[order_[entered_]];
    bool going = true;
    blocks.each_range(i, blocks.size(), [&](const BlockRange& range) {
      for (std::uint32_t b = range.first; b < range.end() && going; ++b, ++i) {
        enter(i, device);
        going = step(nth_block(range.segment, b), i, runs);
      }
      return going;
    });
  }
  for (std::size_t tier = 0; tier < tiers_.size(); ++tier) {
    for (std::uint32_t w = 0; w < words_; ++w) {
      end_runs(tier, w, tiers_[tier].at[w], blocks.size(), runs);
      tiers_[tier].at[w] = 0;
    }
  }
}

/// Those whose device's prefix ends before `block` look for it in the first tier.
void TierIndex::enter(std::uint32_t block, std::span<const std::uint32_t> device) {
  for (; entered_ < workers_ && device[order_[entered_]] == block; ++entered_) {
    const std::uint32_t worker = order_[entered_];
    since_[worker] = block;
    tiers_.front().at[worker / 64] |= 1ULL << (worker % 64);
  }
}

/// Moves every run on by a block, or to the first tier further out that can go on with it. False
/// where none can.
bool TierIndex::step(BlockHash hash, std::uint32_t block, std::span<std::uint32_t> runs) {
  std::fill(falling_.begin(), falling_.end(), 0);
  bool going = false;
  for (std::size_t i = 0; i < tiers_.size(); ++i) {
    Tier& tier = tiers_[i];
    std::uint64_t asking = 0;
    for (std::uint32_t w = 0; w < words_; ++w) {
      asking |= tier.at[w] | falling_[w];
    }
    if (asking == 0) {
      continue;
    }
    const std::span<const std::uint64_t> holders = tier.index.holders(hash);
    for (std::uint32_t w = 0; w < words_; ++w) {
      const std::uint64_t has = holders.empty() ? 0 : tier.shared ? ~0ULL : holders[w];
      const std::uint64_t ends = tier.at[w] & ~has;
      const std::uint64_t comes = falling_[w];
      end_runs(i, w, ends, block, runs);
      tier.at[w] = (tier.at[w] | comes) & has;
      falling_[w] = ends | (comes & ~has);
      going = going || tier.at[w] != 0;
    }
  }
  return going;
}

/// The runs of these workers (a bit each, of word `word`) in a tier end before `block`.
void TierIndex::end_runs(std::size_t tier, std::uint32_t word, std::uint64_t workers,
                         std::uint32_t block, std::span<std::uint32_t> runs) {
  for (; workers != 0; workers &= workers - 1) {
    const std::uint32_t worker = word * 64 + static_cast<std::uint32_t>(std::countr_zero(workers));
    runs[tier * workers_ + worker] = block - since_[worker];
    since_[worker] = block;
  }
}

std::uint64_t TierIndex::bytes() const {
  std::uint64_t sum = 0;
  for (const Tier& tier : tiers_) {
    sum += tier.index.bytes();
  }
  return sum;
}

void TierIndex::check_invariants() const {
  for (const Tier& tier : tiers_) {
    tier.index.check_invariants();
  }
}

}  // namespace dyn::kvbm
