#include <algorithm>

#include "dyn/core/check.h"
#include "dyn/core/math.h"
#include "dyn/policy/load_choice.h"
#include "router_impl.h"

namespace dyn::policy {

std::uint32_t Router::Impl::choose(const RouteRequest& request, SimTime now) {
  switch (options.config.kind) {
    case RouterKind::round_robin:
      return next_in_turn();
    case RouterKind::random:
      return eligible[random.below(eligible.size())];
    case RouterKind::power_of_two:
      return fewer_of_two();
    case RouterKind::least_loaded:
      return least_loaded(request);
    case RouterKind::session_affinity:
      return of_session(request, now);
    case RouterKind::kv_aware:
      price(request);
      return options.config.temperature > 0 ? by_softmax() : least_cost();
  }
  DYN_ASSERT(false, "an unknown kind of router");
}

/// The first eligible worker at or after the one whose turn it is.
std::uint32_t Router::Impl::next_in_turn() {
  const auto found = std::lower_bound(eligible.begin(), eligible.end(), turn);
  const std::uint32_t chosen = found == eligible.end() ? eligible.front() : *found;
  turn = (chosen + 1) % static_cast<std::uint32_t>(workers.size());
  return chosen;
}

std::uint32_t Router::Impl::fewer_of_two() {
  const std::uint64_t count = eligible.size();
  const std::uint64_t first = random.below(count);
  if (count == 1) {
    return eligible[0];
  }
  const std::uint64_t other = (first + 1 + random.below(count - 1)) % count;
  const bool second = workers[eligible[other]].active < workers[eligible[first]].active;
  return eligible[second ? other : first];
}

/// Where the session's last request went, if that was not long ago and it takes requests.
std::uint32_t Router::Impl::of_session(const RouteRequest& request, SimTime now) {
  while (!session_uses.empty() && now - session_uses.front().first > options.config.affinity_ttl) {
    const auto [used, session] = session_uses.front();
    session_uses.pop_front();
    if (sessions.find(session)->used == used) {
      sessions.erase(session);
    }
  }
  if (request.session == 0) {
    return least_loaded(request);
  }
  const Session* known = sessions.find(request.session);
  const bool there =
      known != nullptr && std::binary_search(eligible.begin(), eligible.end(), known->worker);
  const std::uint32_t chosen = there ? known->worker : least_loaded(request);
  const auto [entry, inserted] = sessions.insert(request.session, {});
  if (inserted || entry->used != now) {
    session_uses.emplace_back(now, request.session);
  }
  *entry = Session{chosen, now};
  return chosen;
}

std::uint32_t Router::Impl::least_loaded(const RouteRequest& request) {
  for (const std::uint32_t w : eligible) {
    costs[w] = workers[w].active;
  }
  if (request.adapter != kNoAdapter) {
    add_adapter_cost(request, 1);
  }
  return least_cost();
}

std::uint32_t Router::Impl::least_cost() {
  ties.clear();
  for (const std::uint32_t w : eligible) {
    if (!ties.empty() && costs[w] > costs[ties.front()]) {
      continue;
    }
    if (!ties.empty() && costs[w] < costs[ties.front()]) {
      ties.clear();
    }
    ties.push_back(w);
  }
  return ties.size() == 1 ? ties.front() : ties[random.below(ties.size())];
}

/// Chooses in proportion to exp(-cost / (range of costs * temperature)); as Dynamo's router.
std::uint32_t Router::Impl::by_softmax() {
  double low = costs[eligible.front()];
  double high = low;
  for (const std::uint32_t w : eligible) {
    low = std::min(low, costs[w]);
    high = std::max(high, costs[w]);
  }
  const double scale = (high - low) * options.config.temperature;
  const auto weight = [&](std::uint32_t w) {
    return scale > 0 ? portable_exp(-(costs[w] - low) / scale) : 1.0;
  };
  double sum = 0;
  for (const std::uint32_t w : eligible) {
    sum += weight(w);
  }
  double left = random.uniform() * sum;
  for (const std::uint32_t w : eligible) {
    left -= weight(w);
    if (left < 0) {
      return w;
    }
  }
  return eligible.back();
}

/// What each worker has of a prompt.
void Router::Impl::look_up(const kvbm::PromptBlocks& blocks) {
  index->leading_runs(blocks, runs);
  if (lower) {
    lower->look_up(blocks, runs);
  }
}

void Router::Impl::price(const RouteRequest& request) {
  look_up(request.blocks);
  if (active) {
    active->overlaps(request.blocks, shared);
  }
  const bool timed = options.config.cost == RouterCost::seconds;
  if (timed) {
    for (const std::uint32_t w : eligible) {
      costs[w] = seconds(request, w);
    }
  } else {
    lower ? price_blocks<true>(request) : price_blocks<false>(request);
  }
  if (request.adapter != kNoAdapter) {
    add_adapter_cost(request, timed ? to_seconds(prefill_time(*options.timer, request.prompt_tokens,
                                                              0, options.step_tokens))
                                    : static_cast<double>(blocks_of(request)));
  }
}

template <bool lower_tiers>
void Router::Impl::price_blocks(const RouteRequest& request) {
  const RouterConfig& config = options.config;
  for (const std::uint32_t w : eligible) {
    const Worker& worker = workers[w];
    const double prefill = static_cast<double>(worker.prefill_tokens + request.prompt_tokens) /
                           static_cast<double>(options.block_size);
    double credit = config.overlap_credit * runs[w];
    if constexpr (lower_tiers) {
      credit += lower->credit(w);
    }
    const double work = std::max(prefill - credit, 0.0);
    const std::int64_t added =
        options.role == WorkerRole::prefill ? 0 : blocks_of(request) - shared[w];
    costs[w] = config.prefill_load_scale * work + static_cast<double>(worker.blocks + added);
  }
}

/// What speaks against workers that do not have the request's adapter, in multiples of `unit`.
void Router::Impl::add_adapter_cost(const RouteRequest& request, double unit) {
  if (adapters.empty()) {
    return;
  }
  for (const std::uint32_t w : eligible) {
    costs[w] += options.config.adapter_affinity * adapters[w].distance(request.adapter) * unit;
  }
}

/// Predicted time to the request's first token at a worker.
double Router::Impl::seconds(const RouteRequest& request, std::uint32_t w) {
  const double device = options.config.overlap_credit * runs[w];
  return lower ? lower->least_seconds(
                     w, [&](double loaded) { return seconds(request, w, device + loaded); })
               : seconds(request, w, device);
}

/// The same, of steps alone, where it has so many blocks of the prompt.
double Router::Impl::seconds(const RouteRequest& request, std::uint32_t w,
                             double cached_blocks) const {
  const RouterConfig& config = options.config;
  const Worker& worker = workers[w];
  const double hit = cached_blocks * options.block_size;
  const double queue = config.prefill_load_scale * static_cast<double>(worker.prefill_tokens);
  const double own = std::max(static_cast<double>(request.prompt_tokens) - hit, 1.0);
  const auto cached = static_cast<std::int64_t>(static_cast<double>(request.prompt_tokens) - own);
  const std::uint32_t decoding =
      options.role == WorkerRole::prefill ? 0 : worker.active - worker.queued;
  perf::StepBatch beside;
  beside.decode_sequences = static_cast<std::int32_t>(decoding);
  beside.sampled = beside.decode_sequences;
  beside.decode_context =
      worker.active == 0 ? 0 : worker.blocks * options.block_size * decoding / worker.active;
  const auto time = [&](std::int64_t tokens) {
    perf::StepBatch batch = beside;
    if (tokens > 0) {
      batch.add_prefill(tokens, std::max<std::int64_t>(cached, 0), true);
    }
    return batch.empty() ? 0.0 : to_seconds(options.timer->step_time(batch));
  };
  const auto tokens = static_cast<std::int64_t>(queue + own);
  const std::int64_t whole = tokens / options.step_tokens;
  const std::int64_t rest = tokens % options.step_tokens;
  return (whole > 0 ? static_cast<double>(whole) * time(options.step_tokens) : 0.0) +
         (rest > 0 ? time(rest) : 0.0);
}

}  // namespace dyn::policy
