// Groups of layers that do not keep the whole context: which pages a request holds of them, and
// when it gives them back.
#include <algorithm>
#include <functional>
#include <limits>

#include "dyn/core/check.h"
#include "scheduler_impl.h"

namespace dyn::policy {

namespace {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

}  // namespace

/// The first block that the window of the next token reaches into, when `done` are computed.
std::int64_t Scheduler::Impl::first_in_window(std::int64_t done) const {
  return std::max<std::int64_t>(done - groups.window + 1, 0) / block_size;
}

/// Pages of the running state of one group: one for each token that is drafted, too.
std::int64_t Scheduler::Impl::running_state() const {
  return groups.state_blocks * (1 + decodes.drafts());
}

/// How many of the next `tokens` tokens of a prompt of which `done` are computed a chunk has. Where
/// states are cached it ends where one may be, as in vLLM's Scheduler._mamba_block_aligned_split,
/// and where the prompt parts from one that other groups have cached, so that the next to share
/// that much of it finds a state; 0 where the budget does not reach so far.
std::int64_t Scheduler::Impl::cut_to_state(Slot slot, std::int64_t done,
                                           std::int64_t tokens) const {
  const Request& request = requests[slot];
  const std::int64_t prompt_end = std::max(request.spec.prompt_tokens, request.known() - 1);
  if (!options.config.prefix_caching || done >= prompt_end) {
    return tokens;
  }
  const std::int64_t state = groups.state_blocks * block_size;
  std::int64_t end = done + tokens;
  if (end < prompt_end) {
    const std::int64_t aligned = end / state * state;
    end = aligned > done || state <= options.config.max_num_batched_tokens ? aligned : end;
  }
  const std::int64_t next = done % state != 0 ? (done / state + 1) * state : 0;
  const std::int64_t junction = group_pages[slot].junction / groups.state_blocks * state;
  for (const std::int64_t stop : {next, junction, (request.known() - 1) / state * state}) {
    end = done < stop && stop < end ? stop : end;
  }
  return std::max<std::int64_t>(end - done, 0);
}

/// Pages of these groups that a request needs beside what it holds, up to its first `filled`
/// tokens.
std::int64_t Scheduler::Impl::group_need(Slot slot, std::int64_t filled) const {
  const GroupPages& held_pages = group_pages[slot];
  const std::int64_t state =
      held_pages.running == 0 ? running_state()
                              : std::min(groups.state_blocks, running_state() - held_pages.running);
  return groups.sliding * std::max<std::int64_t>(blocks_for(filled) - held_pages.end, 0) +
         groups.linear * state;
}

void Scheduler::Impl::take_groups(Slot slot, std::int64_t filled) {
  pool.take(static_cast<std::uint64_t>(group_need(slot, filled)));
  group_pages[slot].end = std::max(group_pages[slot].end, blocks_for(filled));
  group_pages[slot].running = running_state();
}

/// Gives back the blocks that no token after the first `done` attends to, and the states before
/// theirs; the last of each group first.
void Scheduler::Impl::slide(Slot slot, std::int64_t done) {
  GroupPages& pages = group_pages[slot];
  const std::int64_t first = std::min(first_in_window(done), pages.end);
  if (groups.sliding > 0 && first > pages.first) {
    const std::int64_t named = std::min(first, pages.named) - pages.first;
    const std::int64_t nameless = first - std::max(pages.first, pages.named);
    for (kvbm::HeldBlocks& blocks : pages.sliding) {
      pool.release({}, static_cast<std::uint64_t>(std::max<std::int64_t>(nameless, 0)));
      pool.release_front(blocks, static_cast<std::uint32_t>(std::max<std::int64_t>(named, 0)));
    }
    pages.first = first;
    pages.named = std::max(pages.named, first);
  }
  for (kvbm::HeldBlocks& states : pages.linear) {
    const bool goes_on = !states.empty() && done == pages.state_end * block_size;
    pool.release_front(
        states, states.size() - (goes_on ? static_cast<std::uint32_t>(groups.state_blocks) : 0));
  }
}

/// The blocks that windows leave behind before the step that begins.
void Scheduler::Impl::slide_windows() {
  const std::int64_t made = decodes.made();
  pool.release({}, static_cast<std::uint64_t>(groups.sliding * sliding.left_behind(slid_to, made)));
  while (next_slide() <= made) {
    const Slot slot = slides.front().slot;
    std::pop_heap(slides.begin(), slides.end(), std::greater<>{});
    slides.pop_back();
    const Request& request = requests[slot];
    GroupPages& pages = group_pages[slot];
    pages.end = blocks_for(decodes.held_tokens(request.base));
    slide(slot, request.base + made - 1);
    pages.even = pages.first >= pages.named && request.base + made >= groups.window;
    if (pages.even) {
      sliding.join(request.base);
    } else {
      push_slide(slot);
    }
  }
  slid_to = made;
  if (partial != kNoSlot) {
    slide(partial, requests[partial].computed);
  }
}

/// What made() is or was when the next window leaves behind a block that is not in the sums.
std::int64_t Scheduler::Impl::next_slide() {
  const Finish* next = soonest(slides);
  return next != nullptr ? next->made : kNever;
}

void Scheduler::Impl::push_slide(Slot slot) {
  const std::int64_t made =
      (group_pages[slot].first + 1) * block_size + groups.window - requests[slot].base;
  slides.push_back({made, requests[slot].order, slot});
  std::push_heap(slides.begin(), slides.end(), std::greater<>{});
}

/// Takes so many blocks for those that decode, in every group.
void Scheduler::Impl::take_for_decodes(std::int64_t blocks) {
  pool.take(static_cast<std::uint64_t>(pages_a_block() * blocks));
  if (groups.whole == 0) {
    ledger.take(static_cast<std::uint64_t>(blocks));
  }
}

/// A request begins to decode.
void Scheduler::Impl::join_groups(Slot slot) {
  if (groups.linear > 0) {
    slide(slot, requests[slot].computed);
  }
  if (groups.sliding > 0) {
    group_pages[slot].even = false;
    push_slide(slot);
  }
}

/// A decoding request leaves the sums; its pages are told again by their numbers.
void Scheduler::Impl::leave_groups(Slot slot) {
  if (groups.sliding == 0) {
    return;
  }
  GroupPages& pages = group_pages[slot];
  const std::int64_t base = requests[slot].base;
  pages.end = blocks_for(decodes.held_tokens(base));
  if (pages.even) {
    sliding.leave(base);
    pages.first = pages.named = first_in_window(base + slid_to - 1);
    pages.even = false;
  }
}

/// Whether windows, once they have moved on to where they are when the step `ahead` steps from now
/// begins, may have left behind enough for the blocked head of the queue.
bool Scheduler::Impl::has_slid_enough(std::int64_t ahead) {
  if (groups.sliding == 0 || wanted_pages == 0) {
    return false;
  }
  const std::int64_t made = decodes.made(ahead);
  const std::int64_t pages = groups.sliding * sliding.left_behind(slid_to, made);
  return free_blocks() + pages >= wanted_pages || (next_slide() <= made && ahead > 0);
}

/// The most steps, up to `limit`, whose windows all are in the sums.
std::int64_t Scheduler::Impl::steps_to_slide(std::int64_t limit) {
  const std::int64_t next = groups.sliding > 0 ? next_slide() : kNever;
  return next == kNever ? limit : std::min(limit, decodes.steps_until(next));
}

/// The most steps, up to `limit`, that certainly leave no room for the blocked head of the queue.
std::int64_t Scheduler::Impl::steps_without_room(std::int64_t limit) const {
  return most_steps(limit, [&](std::int64_t steps) {
    return free_blocks() + groups.sliding * sliding.left_behind(slid_to, decodes.made(steps)) <
           wanted_pages;
  });
}

void Scheduler::Impl::release_groups(Slot slot) {
  GroupPages& pages = group_pages[slot];
  for (const kvbm::HeldBlocks& blocks : pages.sliding) {
    pool.release(blocks, static_cast<std::uint64_t>(pages.end - pages.named));
  }
  for (const kvbm::HeldBlocks& states : pages.linear) {
    pool.release(states, static_cast<std::uint64_t>(pages.running));
  }
  clear_groups(slot);
}

void Scheduler::Impl::clear_groups(Slot slot) {
  group_pages.resize(std::max<std::size_t>(group_pages.size(), slot + 1));
  group_pages[slot] = {};
  group_pages[slot].sliding.resize(static_cast<std::size_t>(groups.sliding));
  group_pages[slot].linear.resize(static_cast<std::size_t>(groups.linear));
}

/// Adds what a request holds in these groups.
void Scheduler::Impl::check_groups(Slot slot, std::int64_t in_progress, std::uint64_t& references,
                                   std::uint64_t& nameless) const {
  if (!split) {
    return;
  }
  const GroupPages& pages = group_pages[slot];
  const Request& request = requests[slot];
  const bool decoding = request.state == State::decoding;
  const std::int64_t end =
      decoding ? blocks_for(decodes.held_tokens(request.base) + in_progress * decodes.gain())
               : pages.end;
  const std::int64_t first =
      decoding && pages.even ? first_in_window(request.base + slid_to - 1) : pages.first;
  DYN_ASSERT(first <= end && pages.first <= pages.named, "a window lies behind its blocks");
  for (const kvbm::HeldBlocks& blocks : pages.sliding) {
    references += blocks.size();
    nameless += static_cast<std::uint64_t>(end - std::max(first, pages.named));
    DYN_ASSERT(blocks.size() == pages.named - pages.first, "a window has lost blocks");
  }
  for (const kvbm::HeldBlocks& states : pages.linear) {
    references += states.size();
    nameless += static_cast<std::uint64_t>(pages.running);
  }
}

/// Puts a prompt's blocks within its first `tokens` tokens under their hashes, and the state after
/// them where one is kept: where a chunk that does not end the prompt ends at a multiple of a
/// state's tokens.
void Scheduler::Impl::publish_groups(Slot slot, std::int64_t tokens, bool completes) {
  GroupPages& pages = group_pages[slot];
  const kvbm::PromptBlocks& blocks = requests[slot].spec.blocks;
  const std::int64_t full = std::min<std::int64_t>(blocks.size(), tokens / block_size);
  if (full > pages.named) {
    for (std::size_t g = 0; g < pages.sliding.size(); ++g) {
      pool.publish(blocks.of_group(group_number(g)), static_cast<std::uint32_t>(pages.named),
                   static_cast<std::uint32_t>(full), pages.sliding[g]);
    }
    pages.named = groups.sliding > 0 ? full : 0;
  }
  if (groups.linear == 0 || completes || tokens % (groups.state_blocks * block_size) != 0 ||
      full * block_size != tokens) {
    return;
  }
  for (std::size_t g = 0; g < pages.linear.size(); ++g) {
    pool.publish(blocks.of_group(group_number(g)),
                 static_cast<std::uint32_t>(full - groups.state_blocks),
                 static_cast<std::uint32_t>(full), pages.linear[g]);
  }
  pages.state_end = full;
  pages.running -= groups.state_blocks;
  fresh_states.push_back(blocks[static_cast<std::uint32_t>(full - 1)]);
}

/// Puts the blocks that a preempted request's windows hold under hashes of its own.
void Scheduler::Impl::keep_groups(Slot slot, const kvbm::PromptBlocks& own, std::int64_t full) {
  if (groups.sliding == 0) {
    return;
  }
  GroupPages& pages = group_pages[slot];
  const std::int64_t prompt = requests[slot].spec.blocks.size();
  if (full <= pages.named) {
    return;
  }
  for (std::size_t g = 0; g < pages.sliding.size(); ++g) {
    pool.publish(own.of_group(group_number(g)), static_cast<std::uint32_t>(pages.named - prompt),
                 static_cast<std::uint32_t>(full - prompt), pages.sliding[g]);
  }
  pages.named = full;
}

}  // namespace dyn::policy
