// How much of the KV cache is kept for the output to come of those that run: none of it (vLLM), all
// (TensorRT-LLM), or an estimate (SGLang).
#include <algorithm>
#include <cmath>

#include "dyn/core/check.h"
#include "scheduler_impl.h"

namespace dyn::policy {

std::int64_t Scheduler::Impl::budget() const {
  const std::int64_t drafted = decodes.drafts() * (batch.decode_sequences - batch.last_tokens);
  return options.config.max_num_batched_tokens - (separate ? charged : batch.tokens() + drafted);
}

/// Books a chunk of a prompt against the step's budget and, once the prompt ends, its output
/// against the cache.
void Scheduler::Impl::charge(const Request& request, std::int64_t tokens, bool completes) {
  charged += (tokens + page - 1) / page * page;
  if (completes) {
    reserved += std::min(request.output_left(), habits.most_output);
  }
}

/// The head of the queue waits until something frees or publishes blocks, or `wanted` fits.
void Scheduler::Impl::block(Wanted wanted_room, std::int64_t pages) {
  blocked = true;
  wanted = wanted_room;
  wanted_pages = pages;
}

/// Whether a request with these blocks in the cache can run beside those that do.
bool Scheduler::Impl::leaves_room(const Request& request, const kvbm::BlockPool::Match& match) {
  if (options.role == WorkerRole::prefill || habits.reserve == Reserve::none) {
    return true;
  }
  bool fits = false;
  Wanted needs;
  if (habits.reserve == Reserve::estimate) {
    needs.tokens = request.known() - match.blocks * block_size +
                   std::min(request.output_left(), habits.most_output);
    needs.idle = match.idle;
    fits = estimated_room(0) > static_cast<double>(needs.tokens + needs.idle * block_size);
    // Alone it may use all there is.
    fits = fits || (running.empty() && received.empty() && receiving.empty() && loading.empty());
  } else {
    fits = fits_to_the_end(request, free_blocks() - match.idle + match.blocks);
  }
  if (!fits) {
    block(needs);
  }
  return fits;
}

/// Blocks that a request has at most. The last token is handed out without ever getting KV; tokens
/// are drafted beyond it.
std::int64_t Scheduler::Impl::blocks_to_the_end(const EngineRequest& request) const {
  const std::int64_t output = options.role == WorkerRole::prefill ? 1 : request.max_output_tokens;
  return blocks_for(request.prompt_tokens + output - 1 + 2 * decodes.drafts());
}

/// Whether all that runs and `request` fit to their last tokens, if `room` blocks are free or its
/// own.
bool Scheduler::Impl::fits_to_the_end(const Request& request, std::int64_t room) const {
  const std::int64_t in_progress = batch.decode_sequences > 0 ? 1 : 0;
  std::int64_t need = blocks_to_the_end(request.spec);
  for (const RequestList* list : {&running, &receiving, &received, &loading}) {
    for (Slot slot = list->head; slot != kNoSlot && need <= room; slot = requests[slot].next) {
      const Request& other = requests[slot];
      need += blocks_to_the_end(other.spec);
      if (other.state == State::decoding) {
        need -= blocks_for(decodes.held_tokens(other.base) + in_progress * decodes.gain());
      } else {
        need -= static_cast<std::int64_t>(other.named.size()) + other.nameless;
      }
    }
  }
  return need <= room;
}

/// For how much of its output to come a running request counts, `ahead` decode steps from now.
double Scheduler::Impl::ratio(std::int64_t ahead) const {
  const std::int64_t steps = decodes.steps() + ahead - ratio_since;
  if (steps <= 0) {
    return ratio_from;
  }
  return std::max(habits.least_share, ratio_from - static_cast<double>(steps) * habits.decay);
}

/// Tokens of output to come of all that decode, `ahead` steps from now, each counted up to a limit.
std::int64_t Scheduler::Impl::output_to_come(std::int64_t ahead) const {
  if (long_outputs == 0) {
    return finish_sum - decodes.count() * decodes.made(ahead);
  }
  std::int64_t sum = 0;
  for (Slot slot = running.head; slot != kNoSlot; slot = requests[slot].next) {
    const Request& request = requests[slot];
    if (request.state == State::decoding) {
      sum += std::min(request.finish - decodes.made(ahead), habits.most_output);
    }
  }
  return sum;
}

/// Tokens that a further request may take when the step `ahead` steps from now begins, if until
/// then all that runs decodes.
double Scheduler::Impl::estimated_room(std::int64_t ahead) const {
  const std::int64_t taken = ahead > 0 ? decodes.blocks_ahead(ahead - 1) : 0;
  return static_cast<double>((free_blocks() - taken) * block_size - reserved) -
         static_cast<double>(output_to_come(ahead)) * ratio(ahead);
}

/// Whether the blocked head of the queue has room again because the others have less output to
/// come, when the step `ahead` steps from now begins.
bool Scheduler::Impl::room_again(std::int64_t ahead) const {
  return wanted.tokens > 0 &&
         estimated_room(ahead) > static_cast<double>(wanted.tokens + wanted.idle * block_size);
}

/// The most steps, up to `limit`, after this one before the head of the queue has room again.
std::int64_t Scheduler::Impl::steps_blocked(std::int64_t limit) const {
  if (!blocked || waiting.empty() || running.size >= max_running) {
    return limit;
  }
  if (groups.sliding > 0 && wanted_pages > 0) {
    return steps_without_room(limit);
  }
  if (wanted.tokens == 0) {
    return limit;
  }
  std::int64_t steps = 0;
  while (steps < limit && !room_again(steps + 1)) {
    ++steps;
  }
  return steps;
}

/// Whom SGLang retracts first: of those that decode who has the least output, of these who has the
/// longest prompt, of these the last admitted.
Slot Scheduler::Impl::next_retracted() const {
  const auto sooner = [](const Request& a, const Request& b) {
    const std::int64_t a_left = a.finish - a.spec.max_output_tokens;
    const std::int64_t b_left = b.finish - b.spec.max_output_tokens;
    return a_left != b_left ? a_left > b_left : a.spec.prompt_tokens >= b.spec.prompt_tokens;
  };
  Slot first = kNoSlot;
  for (Slot slot = running.head; slot != kNoSlot; slot = requests[slot].next) {
    const bool decoding = requests[slot].state == State::decoding;
    if (decoding && (first == kNoSlot || sooner(requests[slot], requests[first]))) {
      first = slot;
    }
  }
  return first;
}

/// Takes decoding requests out of the batch until the others fit. The last one stays if a prompt
/// that was cut off can go instead.
void Scheduler::Impl::retract(SimTime now, Outcome& outcome) {
  bool any = false;
  while (decodes.blocks_needed() > free_blocks()) {
    const bool last = decodes.count() == 1 && partial != kNoSlot;
    preempt(last ? partial : next_retracted(), now, outcome);
    any = true;
  }
  if (!any) {
    return;
  }
  double made = 0;
  double most = 1;
  for (Slot slot = running.head; slot != kNoSlot; slot = requests[slot].next) {
    const Request& request = requests[slot];
    if (request.state == State::decoding) {
      made += static_cast<double>(request.spec.max_output_tokens -
                                  (request.finish - decodes.made()) + kRetractDecodeSteps);
      most += static_cast<double>(request.spec.max_output_tokens);
    }
  }
  ratio_from = std::min(1.0, made / most);
  ratio_since = decodes.steps() + 1;
}

}  // namespace dyn::policy
