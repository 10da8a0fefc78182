#include "lower_tiers.h"

#include "dyn/core/check.h"

namespace dyn::policy {
namespace {

std::vector<bool> shared_of(const std::vector<RouterTier>& tiers) {
  std::vector<bool> shared;
  for (const RouterTier& tier : tiers) {
    shared.push_back(tier.shared);
  }
  return shared;
}

}  // namespace

LowerTiers::LowerTiers(const RouterOptions& options)
    : tiers_(options.tiers),
      index_(options.workers, shared_of(options.tiers), options.max_index_segments),
      runs_(std::size_t{options.workers} * options.tiers.size(), 0),
      counted_(options.workers, 0) {
  DYN_ASSERT(!tiers_.empty() && tiers_.size() <= 3, "one to three tiers below the device");
}

void LowerTiers::look_up(const kvbm::PromptBlocks& blocks, std::span<const std::uint32_t> device) {
  index_.continue_runs(blocks, device, runs_);
}

std::array<std::uint32_t, 3> LowerTiers::found(std::uint32_t worker) const {
  std::array<std::uint32_t, 3> out{};
  for (std::size_t tier = 0; tier < tiers_.size(); ++tier) {
    out[tier] = run(tier, worker);
  }
  return out;
}

double LowerTiers::credit(std::uint32_t worker) {
  double blocks = 0;
  for (std::size_t tier = 0; tier < tiers_.size(); ++tier) {
    blocks += tiers_[tier].credit * run(tier, worker);
  }
  return counted_[worker] = blocks;
}

}  // namespace dyn::policy
