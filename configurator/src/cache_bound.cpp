#include "cache_bound.h"

#include <fmt/format.h>

#include <algorithm>

#include "dyn/engine/engine.h"

namespace dyn::configurator {
namespace {

constexpr std::string_view kFull = "full_attention";
constexpr std::string_view kWindows = "windows";
constexpr std::string_view kStates = "states";
constexpr std::string_view kSequences = "max_num_seqs";

std::int64_t blocks_of(std::int64_t tokens, std::int64_t block_size) {
  return (tokens + block_size - 1) / block_size;
}

/// vLLM's groups: all have their blocks of one pool.
void share_pool(const perf::CacheGroups& groups, const EngineConfig& config, CacheBound& out) {
  const std::int64_t blocks = blocks_of(out.tokens, config.block_size);
  const std::int64_t total = config.kv_blocks.value_or(0);
  const std::int64_t window = std::min(blocks, groups.window_blocks(1, config.block_size));
  out.shared = true;
  out.parts = {{kFull, groups.whole * blocks, total},
               {kWindows, groups.sliding * window, total},
               {kStates, groups.linear * groups.state_blocks, total}};
  std::int64_t sum = 0;
  for (const CacheBound::Part& part : out.parts) {
    sum += part.each;
  }
  const auto most = std::max_element(out.parts.begin(), out.parts.end(),
                                     [](const auto& a, const auto& b) { return a.each < b.each; });
  if (const std::int64_t fit = total / std::max<std::int64_t>(1, sum); fit < out.requests) {
    out.requests = fit;
    out.bound_by = most->kind;
  }
}

/// SGLang's pools: the first to be full bounds.
void fill_pools(const perf::CacheGroups& groups, const EngineConfig& config, CacheBound& out) {
  out.parts.push_back({kFull, std::max<std::int64_t>(1, blocks_of(out.tokens, config.block_size)),
                       config.kv_blocks.value_or(0)});
  if (groups.window_pool > 0) {
    const std::int64_t each = groups.pool_blocks(out.tokens, 1, config.block_size);
    out.parts.push_back({kWindows, std::max<std::int64_t>(1, each), groups.window_pool});
  }
  if (groups.most_states > 0) {
    out.parts.push_back({kStates, 1, groups.most_states});
  }
  for (const CacheBound::Part& part : out.parts) {
    if (part.total / part.each < out.requests) {
      out.requests = part.total / part.each;
      out.bound_by = part.kind;
    }
  }
}

}  // namespace

std::vector<CacheBound> cache_bounds(const Plan& plan) {
  std::vector<CacheBound> out;
  for (const PoolSpec& pool : plan.pools) {
    const perf::CacheGroups groups = engine::cache_groups(plan, pool);
    if (!groups.split() && groups.window_pool == 0 && groups.most_states == 0) {
      continue;
    }
    CacheBound& bound = out.emplace_back();
    bound.role = pool.role;
    bound.tokens = pool.config.max_model_len.value_or(plan.model.max_context);
    bound.requests = pool.config.max_num_seqs;
    bound.bound_by = kSequences;
    (groups.split() ? share_pool : fill_pools)(groups, pool.config, bound);
    std::erase_if(bound.parts, [](const CacheBound::Part& part) { return part.each == 0; });
    bound.requests = std::max<std::int64_t>(1, bound.requests);
  }
  return out;
}

const char* role_text(WorkerRole role) {
  return role == WorkerRole::prefill  ? "prefill"
         : role == WorkerRole::decode ? "decode"
                                      : "aggregated";
}

std::string to_text(const CacheBound& bound) {
  std::string text;
  for (const CacheBound::Part& part : bound.parts) {
    if (bound.shared) {
      text += fmt::format("{}{} blocks of {}", text.empty() ? "" : ", ", part.each,
                          part.kind == kFull      ? "full attention"
                          : part.kind == kWindows ? "windows"
                                                  : "states");
    } else if (part.kind == kWindows) {
      text += fmt::format("{} window blocks; ", part.total);
    } else if (part.kind == kStates) {
      text += fmt::format("states of {} sequences; ", part.total);
    }
  }
  return text + (bound.shared ? " a request; " : "") +
         fmt::format("{} request{} of {} tokens run{} at once, bounded by {}", bound.requests,
                     bound.requests == 1 ? "" : "s", bound.tokens, bound.requests == 1 ? "s" : "",
                     bound.bound_by == kSequences ? kSequences
                     : bound.bound_by == kFull ? (bound.shared ? "full attention" : "the KV blocks")
                     : bound.bound_by == kWindows
                         ? (bound.shared ? "the windows" : "the window blocks")
                         : "the states");
}

}  // namespace dyn::configurator
