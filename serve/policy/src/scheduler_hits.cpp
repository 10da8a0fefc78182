// How much of a prompt every group of layers has in the cache, and what a request with that much of
// it needs to be admitted.
#include <algorithm>

#include "scheduler_impl.h"

namespace dyn::policy {

namespace {

using Run = kvbm::BlockPool::Run;

std::vector<Run> common(const std::vector<Run>& a, const std::vector<Run>& b) {
  std::vector<Run> both;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const Run run{std::max(a[i].begin, b[j].begin), std::min(a[i].end, b[j].end)};
    if (run.begin < run.end) {
      both.push_back(run);
    }
    ++(a[i].end < b[j].end ? i : j);
  }
  return both;
}

/// The longest prefix that ends in `need` cached blocks, or is cached as a whole.
std::uint32_t window_hit(const std::vector<Run>& runs, std::uint32_t need) {
  for (std::size_t i = runs.size(); i-- > 0;) {
    if (runs[i].end - runs[i].begin >= need || runs[i].begin == 0) {
      return runs[i].end;
    }
  }
  return 0;
}

/// The longest prefix of whole states whose last state is cached.
std::uint32_t state_hit(const std::vector<Run>& runs, std::uint32_t state) {
  for (std::size_t i = runs.size(); i-- > 0;) {
    const std::uint32_t end = runs[i].end / state * state;
    if (end >= runs[i].begin + state) {
      return end;
    }
  }
  return 0;
}

}  // namespace

/// The longest prefix of a request, of at most `limit` blocks, that every group has in the cache.
/// `own` are blocks that follow the prompt's.
std::uint32_t Scheduler::Impl::agreed_hit(const Request& request, const kvbm::PromptBlocks& own,
                                          std::uint32_t limit) {
  const std::uint32_t prompt = request.spec.blocks.size();
  const auto count = static_cast<std::uint32_t>(groups.sliding + groups.linear);
  std::vector<Run> all;
  std::vector<Run> of_one;
  for (std::uint32_t g = 0; g < count; ++g) {
    of_one.clear();
    pool.cached_runs(request.spec.blocks.of_group(group_number(g)), limit, 0, of_one);
    if (limit > prompt) {
      pool.cached_runs(own.of_group(group_number(g)), limit - prompt, prompt, of_one);
    }
    all = g == 0 ? of_one : common(all, of_one);
  }
  const std::uint32_t hit =
      groups.linear > 0
          ? state_hit(all, static_cast<std::uint32_t>(groups.state_blocks))
          : window_hit(all, static_cast<std::uint32_t>(blocks_for(groups.window - 1)));
  return std::min(hit, limit);
}

/// Finds the blocks of these groups that a request with a hit of `hit` blocks needs. They go to
/// group_found. Returns how many of them are free now.
std::int64_t Scheduler::Impl::find_groups(const Request& request, const kvbm::PromptBlocks& own,
                                          std::uint32_t hit) {
  const std::uint32_t prompt = request.spec.blocks.size();
  const std::int64_t first =
      groups.linear > 0 ? std::max<std::int64_t>(hit - groups.state_blocks, 0)
                        : std::min<std::int64_t>(first_in_window(computed_with(request, hit)), hit);
  const auto begin = static_cast<std::uint32_t>(first);
  const auto count = static_cast<std::size_t>(groups.sliding + groups.linear);
  group_found.resize(count);
  std::int64_t idle = 0;
  for (std::size_t g = 0; g < count; ++g) {
    kvbm::HeldBlocks& blocks = group_found[g];
    blocks.clear();
    if (groups.linear > 0 && request.remote) {  // its state comes with the rest
      continue;
    }
    idle += pool.match_range(request.spec.blocks.of_group(group_number(g)), begin,
                             std::min(hit, prompt), blocks);
    if (hit > prompt) {
      idle += pool.match_range(own.of_group(group_number(g)), std::max(begin, prompt) - prompt,
                               hit - prompt, blocks);
    }
  }
  return idle;
}

/// Pages of all groups that a request with `hit` blocks cached must find free to be admitted, of
/// which its first chunk ends with `filled` tokens. As in vLLM the whole request must fit, with no
/// more in a sliding group than it ever holds there, and so must its first chunk.
std::int64_t Scheduler::Impl::admission_pages(const Request& request, std::uint32_t hit,
                                              std::int64_t filled) const {
  const std::int64_t whole = blocks_for(request.known() + decodes.drafts());
  const std::int64_t states = groups.linear * running_state();
  const std::int64_t begin =
      std::max<std::int64_t>(first_in_window(computed_with(request, hit)), hit);
  const auto pages = [&](std::int64_t end) {
    return groups.sliding * std::max<std::int64_t>(end - begin, 0) + states;
  };
  if (request.remote) {
    return groups.whole * (whole - hit) + pages(whole);
  }
  const std::int64_t most = groups.window_blocks(options.config.max_num_batched_tokens, block_size);
  return std::max(groups.whole * (whole - hit) + pages(std::min(whole, most)),
                  groups.whole * (blocks_for(filled) - hit) + pages(blocks_for(filled)));
}

/// A request is admitted with what find_groups() found.
void Scheduler::Impl::acquire_groups(Slot slot, std::uint32_t hit) {
  GroupPages& pages = group_pages[slot];
  for (kvbm::HeldBlocks& blocks : group_found) {
    pool.acquire(blocks);
  }
  if (groups.linear > 0) {
    pages.linear = group_found;
    pages.state_end = hit;
    return;
  }
  const std::int64_t first = first_in_window(computed_with(requests[slot], hit));
  pages.sliding = group_found;
  pages.first = first;
  pages.named = pages.end = std::max<std::int64_t>(first, hit);
}

}  // namespace dyn::policy
