#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "dyn/core/id.h"
#include "dyn/core/plan.h"
#include "dyn/core/recipe.h"
#include "dyn/core/result.h"
#include "dyn/kvbm/block_hash.h"
#include "dyn/perf/step_timer.h"
#include "dyn/policy/adapters.h"
#include "dyn/policy/router_tier.h"

namespace dyn::policy {

/// Why a request was not routed.
enum class router_errc {
  no_workers = 1,  ///< none is available (503)
  overloaded,      ///< every available worker's queue is full (429)
  busy,            ///< every available worker has more queued than hold_above: to be held
};
boost::system::error_code make_error_code(router_errc e);

struct RouteRequest {
  RequestId id;
  std::int64_t prompt_tokens = 0;
  std::int64_t output_tokens = 0;  ///< expected; 0 unknown
  kvbm::PromptBlocks blocks;
  std::uint64_t session = 0;  ///< 0: none
  AdapterNumber adapter = kNoAdapter;
};

struct RouteChoice {
  WorkerId worker;
  std::uint32_t cached_blocks = 0;  ///< leading blocks that the index knows at that worker
  /// The blocks behind them that its lower tiers are known to have, by tier.
  std::array<std::uint32_t, 3> tier_blocks{};
  double cost = 0;
};

/// What is asked of the router of a pool of this role. The prompt of a decode worker's request is
/// computed elsewhere, so that neither it nor what is cached of it is a reason to choose that
/// worker; what the worker holds is.
RouterConfig router_config(const RouterConfig& config, WorkerRole role);

struct RouterOptions {
  RouterConfig config;
  /// Of its pool. As in Dynamo's routers, prompts that a prefill worker computes are no blocks that
  /// it holds - here those that wait for their hand-over are - and decode workers hold what they
  /// receive for each request anew.
  WorkerRole role = WorkerRole::aggregated;
  std::uint32_t workers = 1;
  int block_size = 16;
  std::uint64_t seed = 1;
  /// Bound of the prefix index, all workers; of blocks where each is a segment.
  std::uint64_t max_index_segments = 4'000'000;
  /// What the workers' steps take and hold; needed where the cost is in seconds.
  std::shared_ptr<const perf::StepTimer> timer;
  std::int64_t step_tokens = 8192;
  std::optional<LoraConfig> lora;  ///< of the workers; none: requests have no adapters
  /// Those below the workers' devices, from there outwards, of which events will tell; at most 3.
  /// Empty: the choice does not depend on them.
  std::vector<RouterTier> tiers;
};

/// Chooses the worker of a pool for each request, and keeps the books on which it bases the
/// choice: prefill tokens and blocks active per worker, and which prefix blocks each has cached.
/// For kv_aware the cost of a worker is
///   prefill_load_scale * max(0, (active prefill tokens + prompt) / block - credit * cached blocks)
///   + blocks that would be active there with this request, those that requests share once,
/// lowest wins, ties are broken at random (seeded). A temperature T above 0 chooses in proportion
/// to exp(-cost / (T * range of costs)). As Dynamo's router documents (its KV-router guide). With
/// the cost in seconds it is instead the predicted time until this request's first token there:
///   steps of the token budget that compute prefill_load_scale * active prefill tokens
///   + prompt - credit * cached tokens, each beside the sequences that decode there now.
/// Blocks in lower tiers that go on where a worker's cached blocks end (kvbm::TierIndex) are worth
/// credit as well, each that of its tier; with the cost in seconds a tier's credit is the share of
/// them that is loaded, in the time that takes alone, if all of it is predicted to be done sooner
/// then. A request is booked with the prompt tokens that are left to be computed so.
/// What is cached is known from the engines' events, or guessed from where prompts were sent
/// (CacheView::approximate). A request is queued at its worker until its prompt is computed;
/// workers with max_queued_per_worker queued are not chosen. Only kv_aware keeps an index.
///
/// Where workers have LoRA slots least_loaded and kv_aware add, for a request with an adapter,
/// adapter_affinity * AdapterSlots::distance times one request, or times its prompt (in blocks, or
/// the seconds that it takes alone). Which adapters a worker has is guessed from the bookings:
/// those booked there, then those last booked. What kv_aware knows of caches tells adapters apart
/// already, since blocks of different adapters have different hashes.
///
/// Several routers may stand before one pool: `booked_elsewhere` tells one what another chose,
/// and prefill_done and finished are then said to both.
/// Pure: `now` is an argument; the same calls give the same choices. Not thread-safe.
class Router {
 public:
  explicit Router(RouterOptions options);
  ~Router();
  Router(Router&&) noexcept;
  Router& operator=(Router&&) noexcept;

  /// Chooses a worker and books the request there. Fails with router_errc.
  Result<RouteChoice> route(const RouteRequest& request, SimTime now);
  /// Another router of the pool chose `worker` for this request.
  void booked_elsewhere(const RouteRequest& request, WorkerId worker, SimTime now);
  /// The most leading blocks of the prompt that any available worker has cached.
  std::uint32_t most_cached(const kvbm::PromptBlocks& blocks, SimTime now);
  /// The fewest prompts queued at an available worker; none if none is available.
  std::optional<std::uint32_t> least_queued() const;
  /// The request's prompt is computed: it is no longer prefill load, nor queued.
  void prefill_done(RequestId id);
  /// One more output block is active for this request.
  void output_block(RequestId id);
  /// The request left, for whatever reason. Unknown ids are ignored.
  void finished(RequestId id);
  /// A cache event of a worker's engine, or of a tier below it; whose does not matter where all
  /// share the tier. Without RouterOptions::tiers those of tiers are ignored.
  void on_kv_event(WorkerId worker, const kvbm::KvEvent& event);
  /// Takes a worker out of the choice, or back in; forgets its cache when taken out.
  void set_available(WorkerId worker, bool available);

  std::uint32_t active_requests(WorkerId worker) const;
  std::uint64_t index_segments() const;  ///< in a server, whose blocks are segments, blocks
  std::uint64_t index_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dyn::policy

template <>
struct boost::system::is_error_code_enum<dyn::policy::router_errc> : std::true_type {};
