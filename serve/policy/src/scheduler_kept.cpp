// Blocks that a request has computed but that no prompt's hash names - output, and prompts that are
// like no other - can only be found again by the request itself, after a preemption. Until then
// they need no names; a preempted request puts them into the cache under hashes of its own.
#include <limits>

#include "scheduler_impl.h"

namespace dyn::policy {

namespace {

/// The hash of which a request's own blocks are parts. Requests of one engine differ in their ids.
kvbm::BlockHash own_hash(const Request& request) {
  static const kvbm::BlockHash root = kvbm::chain_root("what a preempted request has computed");
  return kvbm::chain(root, request.spec.id.value());
}

}  // namespace

/// Names the full blocks within the first `tokens` tokens that have no hash; they are still held.
void Scheduler::Impl::keep(Request& request, std::int64_t tokens) {
  const std::int64_t prompt = request.spec.blocks.size();
  const auto named = static_cast<std::int64_t>(request.named.size());
  const std::int64_t full = tokens / block_size;
  if (!options.config.prefix_caching || tiers != nullptr || named < prompt || full <= named) {
    return;
  }
  const kvbm::BlockHash hash = own_hash(request);
  const kvbm::PromptBlocks own(std::span(&hash, 1), std::numeric_limits<std::uint32_t>::max(),
                               static_cast<std::uint32_t>(full - prompt));
  pool.publish(own, static_cast<std::uint32_t>(named - prompt), own.size(), request.named);
  request.nameless -= full - named;
  request.kept = full - prompt;
}

/// Looks up blocks that were kept of a request whose hashed blocks are all in the cache; at most
/// `limit`. They go to found_kept.
kvbm::BlockPool::Match Scheduler::Impl::match_kept(const Request& request, std::int64_t limit) {
  found_kept.clear();
  const std::int64_t count = std::min(request.kept, limit);
  if (count <= 0) {
    return {};
  }
  const kvbm::BlockHash hash = own_hash(request);
  const kvbm::PromptBlocks own(std::span(&hash, 1), std::numeric_limits<std::uint32_t>::max(),
                               static_cast<std::uint32_t>(count));
  return pool.match(own, own.size(), found_kept);
}

}  // namespace dyn::policy
