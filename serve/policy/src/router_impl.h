#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "active_blocks.h"
#include "dyn/core/random.h"
#include "dyn/kvbm/flat_map.h"
#include "dyn/kvbm/prefix_index.h"
#include "dyn/policy/cache_guess.h"
#include "dyn/policy/router.h"
#include "lower_tiers.h"

namespace dyn::policy {

struct Router::Impl {
  struct Worker {
    bool available = true;
    std::uint32_t active = 0;         ///< requests booked
    std::uint32_t queued = 0;         ///< of these, prompts not yet computed
    std::int64_t prefill_tokens = 0;  ///< of queued prompts, those not found in the cache
    std::int64_t blocks = 0;          ///< active: of booked requests, shared ones once
  };
  struct Booking {
    std::uint32_t worker = 0;
    bool prefilling = true;
    std::int64_t prefill_tokens = 0;
    std::int64_t blocks = 0;  ///< its own: output, and the end of the prompt
    std::uint32_t leaf = ActiveBlocks::kNone;
    AdapterNumber adapter = kNoAdapter;
  };
  struct Session {
    std::uint32_t worker = 0;
    SimTime used{};
  };

  explicit Impl(RouterOptions given);
  bool kv_aware() const { return options.config.kind == RouterKind::kv_aware; }
  bool guesses_cache() const {
    return kv_aware() && options.config.cache_view == CacheView::approximate;
  }
  std::int64_t blocks_of(const RouteRequest& request) const {
    return (request.prompt_tokens + options.block_size - 1) / options.block_size;
  }

  // The books (router.cpp).
  Result<RouteChoice> route(const RouteRequest& request, SimTime now);
  void book(const RouteRequest& request, const RouteChoice& choice, SimTime now);
  void finish_prefill(Booking& booking);
  void forget_guesses(SimTime now);
  void apply_guesses(std::uint32_t worker);
  void on_tier_event(WorkerId worker, const kvbm::KvEvent& event);

  // Choosing among `eligible` (router_choice.cpp).
  std::uint32_t choose(const RouteRequest& request, SimTime now);
  std::uint32_t next_in_turn();
  std::uint32_t fewer_of_two();
  std::uint32_t of_session(const RouteRequest& request, SimTime now);
  std::uint32_t least_loaded(const RouteRequest& request);
  std::uint32_t least_cost();
  std::uint32_t by_softmax();
  void look_up(const kvbm::PromptBlocks& blocks);
  void price(const RouteRequest& request);
  template <bool lower_tiers>
  void price_blocks(const RouteRequest& request);
  double seconds(const RouteRequest& request, std::uint32_t worker);
  double seconds(const RouteRequest& request, std::uint32_t worker, double cached_blocks) const;
  void add_adapter_cost(const RouteRequest& request, double unit);

  RouterOptions options;
  RandomStream random;
  std::vector<Worker> workers;
  kvbm::FlatMap<Booking> bookings;
  std::optional<kvbm::PrefixIndex> index;
  std::optional<LowerTiers> lower;
  std::optional<ActiveBlocks> active;
  std::vector<CacheGuess> guesses;     ///< by worker, where the cache is guessed
  std::vector<AdapterSlots> adapters;  ///< by worker; empty: there are none
  kvbm::FlatMap<Session> sessions;
  std::deque<std::pair<SimTime, std::uint64_t>> session_uses;  ///< oldest first
  std::uint32_t turn = 0;
  // Scratch of one choice.
  std::vector<std::uint32_t> eligible;
  std::vector<std::uint32_t> ties;
  std::vector<std::uint32_t> runs;    ///< leading blocks cached at each worker
  std::vector<std::uint32_t> shared;  ///< leading blocks active at each worker
  std::vector<double> costs;
  std::vector<kvbm::KvEvent> events;
};

}  // namespace dyn::policy
