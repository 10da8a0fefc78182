// SGLang's pool of layers with sliding windows: a request that runs is given as much of it as it
// can come to hold, so that no step ever finds it empty.
#include <algorithm>

#include "dyn/core/check.h"
#include "scheduler_impl.h"

namespace dyn::policy {

/// Blocks of the pool that a request comes to hold while it decodes.
std::int64_t Scheduler::Impl::window_to_decode(const Request& request) const {
  const std::int64_t tokens = blocks_to_the_end(request.spec) * block_size;
  return groups.pool_blocks(tokens, 1 + decodes.drafts(), block_size);
}

/// Blocks of the pool that a request with `cached` tokens found needs until its prompt is computed
/// and after: beside its window what a chunk adds (PrefillAdder._swa_budget_for_req, to whole
/// blocks).
std::int64_t Scheduler::Impl::window_to_admit(const Request& request, std::int64_t cached) const {
  const std::int64_t decoding = window_to_decode(request);
  if (request.remote) {
    return decoding;
  }
  const std::int64_t chunk =
      std::min(request.known() - cached, options.config.max_num_batched_tokens);
  return std::max(decoding, groups.pool_blocks(request.known(), chunk, block_size));
}

/// Whether a request fits the pool; if not, only one that leaves it, or has its prompt computed,
/// helps.
bool Scheduler::Impl::window_fits(const Request& request, std::int64_t cached) {
  if (groups.window_pool == 0 ||
      window_taken + window_to_admit(request, cached) <= groups.window_pool) {
    return true;
  }
  block({});
  return false;
}

/// Gives a request so many blocks of the pool in place of those that it has.
void Scheduler::Impl::hold_window(Request& request, std::int64_t blocks) {
  window_taken += blocks - request.window;
  request.window = blocks;
}

void Scheduler::Impl::check_windows() const {
  std::int64_t taken = 0;
  for (Slot slot = 0; slot < requests.slots(); ++slot) {
    const Request& request = requests[slot];
    if (request.state != State::unused) {
      taken += request.window;
    }
  }
  DYN_ASSERT(taken == window_taken, "the pool of sliding layers has lost count");
  DYN_ASSERT(taken <= groups.window_pool, "windows take more than their pool");
}

}  // namespace dyn::policy
