// Blocks that a request has computed but that no prompt's hash names - output, and prompts that are
// like no other - can only be found again by the request itself, after a preemption. Until then
// they need no names; a preempted request puts them into the cache under hashes of its own.
#include <algorithm>
#include <limits>

#include "scheduler_impl.h"

namespace dyn::policy {

namespace {

/// The first so many blocks of a request's own, which are parts of one hash. Requests of one engine
/// differ in their ids.
class OwnBlocks {
 public:
  OwnBlocks(const Request& request, std::int64_t count)
      : hash_(kvbm::chain(root(), request.spec.id.value())),
        blocks_(std::span(&hash_, 1), std::numeric_limits<std::uint32_t>::max(),
                static_cast<std::uint32_t>(count)) {}
  OwnBlocks(const OwnBlocks&) = delete;
  OwnBlocks& operator=(const OwnBlocks&) = delete;

  const kvbm::PromptBlocks& blocks() const { return blocks_; }

 private:
  static kvbm::BlockHash root() {
    static const kvbm::BlockHash hash = kvbm::chain_root("what a preempted request has computed");
    return hash;
  }
  kvbm::BlockHash hash_;
  kvbm::PromptBlocks blocks_;
};

}  // namespace

/// Names the full blocks within the first `tokens` tokens that have no hash; they are still held.
void Scheduler::Impl::keep(Slot slot, std::int64_t tokens) {
  Request& request = requests[slot];
  const std::int64_t prompt = request.spec.blocks.size();
  const auto named = static_cast<std::int64_t>(request.named.size());
  const std::int64_t full = tokens / block_size;
  if (!options.config.prefix_caching || tiers != nullptr || named < prompt || full <= named) {
    return;
  }
  const OwnBlocks own(request, full - prompt);
  keep_groups(slot, own.blocks(), full);
  context().publish(own.blocks(), static_cast<std::uint32_t>(named - prompt), own.blocks().size(),
                    request.named);
  request.nameless -= full - named;
  request.kept = full - prompt;
}

/// Cuts what the group that keeps the whole context has in the cache (in found and found_kept) to
/// what all groups have, and finds their blocks. False if the state to go on from is only computed
/// in the step that begins.
bool Scheduler::Impl::cut_to_groups(Slot slot, kvbm::BlockPool::Match& match) {
  const Request& request = requests[slot];
  const std::uint32_t prompt = request.spec.blocks.size();
  const OwnBlocks kept_blocks(request, match.blocks > prompt ? match.blocks - prompt : 0);
  const kvbm::PromptBlocks& own = kept_blocks.blocks();
  const bool own_state = groups.linear > 0 && request.remote;
  const std::uint32_t hit = own_state ? match.blocks : agreed_hit(request, own, match.blocks);
  group_pages[slot].junction = hit < match.blocks ? match.blocks : 0;
  if (hit < match.blocks) {
    match = context().match(request.spec.blocks, std::min(hit, prompt), found);
    const kvbm::BlockPool::Match kept = match_kept(request, std::int64_t{hit} - match.blocks);
    match.blocks += kept.blocks;
    match.idle += kept.idle;
  }
  if (groups.linear > 0 && !own_state && hit > 0 &&
      std::find(fresh_states.begin(), fresh_states.end(), request.spec.blocks[hit - 1]) !=
          fresh_states.end()) {
    return false;
  }
  match.idle = static_cast<std::uint32_t>(groups.whole) * match.idle +
               static_cast<std::uint32_t>(find_groups(request, own, hit));
  return true;
}

/// Looks up blocks that were kept of a request whose hashed blocks are all in the cache; at most
/// `limit`. They go to found_kept.
kvbm::BlockPool::Match Scheduler::Impl::match_kept(const Request& request, std::int64_t limit) {
  found_kept.clear();
  const std::int64_t count = std::min(request.kept, limit);
  if (count <= 0) {
    return {};
  }
  const OwnBlocks own(request, count);
  return context().match(own.blocks(), own.blocks().size(), found_kept);
}

}  // namespace dyn::policy
