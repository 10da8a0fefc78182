#include <cstdlib>

#include "dyn/core/check.h"
#include "scheduler_impl.h"

namespace dyn::policy {

void Scheduler::check_invariants() const {
  const Impl& s = *impl_;
  std::uint64_t references = 0;
  std::uint64_t nameless = 0;
  std::uint64_t context_references = 0;  // of the group that keeps the whole context
  std::uint64_t context_nameless = 0;
  std::size_t requests = 0;
  DecodeSet decodes(s.block_size, pace_of(s.options));
  decodes.advance(s.decodes.steps());
  // Between begin_step and end_step, decoding requests already have the block of that step.
  const std::int64_t in_progress = s.batch.empty() || s.paused ? 0 : 1;
  for (Slot slot = 0; slot < s.requests.slots(); ++slot) {
    const Request& request = s.requests[slot];
    if (request.state == State::unused) {
      continue;
    }
    ++requests;
    context_references += request.named.size();
    std::int64_t held = request.nameless;
    if (request.state == State::decoding) {
      const std::int64_t known = decodes.join(request.base + decodes.made());
      DYN_ASSERT(known == request.base, "a sequence has lost count");
      held = s.blocks_for(decodes.held_tokens(request.base) + in_progress * decodes.gain()) -
             static_cast<std::int64_t>(request.named.size());
    }
    s.check_groups(slot, in_progress, references, nameless);
    DYN_ASSERT(held >= 0, "a request owes blocks");
    const bool queued = request.state == State::waiting || request.state == State::fetching;
    DYN_ASSERT(!queued || (held == 0 && request.named.empty()), "a waiting request holds blocks");
    context_nameless += static_cast<std::uint64_t>(held);
  }
  DYN_ASSERT(requests == s.requests.size(), "the id map and the records differ");
  const std::int32_t listed = s.running.size + s.waiting.size + s.received.size + s.receiving.size +
                              s.held.size + s.fetching.size + s.loading.size;
  DYN_ASSERT(static_cast<std::size_t>(listed) == requests, "a request is in no list");
  DYN_ASSERT(s.running.size <= s.max_running, "too many run");
  DYN_ASSERT(decodes.count() == s.decodes.count() && decodes.context() == s.decodes.context(),
             "the sums over decoding requests are wrong");
  for (std::int64_t ahead = 0; ahead < s.block_size; ++ahead) {
    DYN_ASSERT(decodes.blocks_needed(ahead) == s.decodes.blocks_needed(ahead),
               "the block needs of decoding requests are wrong");
  }
  for (const Impl::Hold& hold : s.holds) {
    references += hold.blocks.size();
  }
  s.check_adapters();
  s.check_windows();
  if (s.tiers != nullptr) {
    s.tiers->check_invariants();
  }
  if (s.groups.whole > 0) {
    references += context_references;
    nameless += context_nameless;
  } else {
    s.ledger.check_invariants(context_references, context_nameless);
  }
  s.pool.check_invariants(references, nameless);
}

}  // namespace dyn::policy
