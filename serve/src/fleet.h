#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dyn/core/plan.h"
#include "dyn/engine/deployed_network.h"
#include "dyn/engine/deployed_tiers.h"
#include "dyn/policy/router.h"
#include "dyn/serve/server.h"
#include "dyn/serve/worker.h"
#include "held_requests.h"
#include "metrics.h"
#include "net.h"
#include "serve_clock.h"

namespace dyn::serve {

/// Where a request was sent.
struct Placement {
  std::size_t pool = 0;
  WorkerId worker;
  std::shared_ptr<Worker> handle;
};

/// The workers of a plan with the routers and the link between them: the policies are those of
/// the simulator, called in the same order, and a lock makes them one at a time. Thread-safe.
class Fleet : public std::enable_shared_from_this<Fleet> {
 public:
  /// Throws Error(bad_input) for a plan that cannot be served.
  static std::shared_ptr<Fleet> create(const Plan& plan, const ServeOptions& options,
                                       const net::any_io_executor& executor);

  const ServeClock& clock() const { return clock_; }
  bool relayed() const { return relayed_; }
  bool disaggregated() const { return pools_.size() > 1; }
  std::size_t entry_pool() const { return entry_; }
  std::size_t decode_pool() const { return decode_; }
  int block_size(std::size_t pool) const { return pools_[pool]->block_size; }
  /// Time that the frontend of the planned engine adds before routing.
  Duration frontend_time() const { return frontend_; }
  /// Relayed bytes of one request that may wait for its client.
  std::size_t relay_bytes() const { return relay_bytes_; }
  RequestId next_id() { return RequestId(next_id_.fetch_add(1, std::memory_order_relaxed)); }

  /// Whether a decode worker is to compute the prompt itself.
  bool prefill_locally(const Job& job);
  /// Chooses a worker and books the request there. Fails with policy::router_errc.
  Result<Placement> route(std::size_t pool, const Job& job);
  /// Keeps a request that `route` refused for this reason, if the plan has routers hold requests:
  /// `turn` is called, on any thread, when it is to look for room again, and whoever it calls says
  /// `looked`. False: it is not held.
  bool hold(std::size_t pool, const Job& job, SimTime sent, policy::router_errc why,
            std::function<void()> turn);
  void looked(std::size_t pool, bool found_room);
  void let_go(std::size_t pool, RequestId id);
  bool holds() const { return router_.hold_above.has_value(); }
  std::optional<Duration> longest_hold() const { return router_.queue_timeout; }

  void prefill_done(const Placement& at, RequestId id);
  void output_blocks(const Placement& at, RequestId id, std::int64_t count);
  void finished(const Placement& at, RequestId id);
  void on_kv_events(std::size_t pool, WorkerId worker, std::span<const kvbm::KvEvent> events);
  void set_available(std::size_t pool, WorkerId worker, bool available);
  /// Sends a prompt's KV from one worker to another, over links that all transfers share.
  /// `arrived` is called on any thread once it is there, unless it is given up before; it may be
  /// called while that happens.
  std::uint64_t start_transfer(const Placement& from, const Placement& to, std::int64_t tokens,
                               std::function<void()> arrived);
  void give_up_transfer(std::uint64_t transfer);

  bool any_available() const;  ///< in every pool
  FleetSnapshot snapshot() const;
  std::string name_of(const Placement& at) const;  ///< such as decode/1
  void stop();

 private:
  struct Pool {
    WorkerRole role;
    int block_size;
    std::uint32_t ranks_per_worker;
    policy::Router router;
    std::vector<std::shared_ptr<Worker>> workers;
    std::vector<bool> available;
    HeldRequests held;
  };

  Fleet(const Plan& plan, const ServeOptions& options, const net::any_io_executor& executor);
  using Timer = std::shared_ptr<const perf::StepTimer>;
  void add_pool(const Plan& plan, const PoolSpec& spec, const Timer& timer,
                const engine::DeployedTiers& tiers);
  void add_workers(const Plan& plan, const ServeOptions& options, std::size_t index,
                   const Timer& timer, const engine::DeployedTiers& tiers,
                   const net::any_io_executor& executor);
  WorkerListener listener(std::size_t pool, WorkerId worker);
  /// Changes a pool under the lock and lets whose turn it is then look for room, without it.
  template <class Change>
  void change(std::size_t pool, const Change& change);
  engine::Endpoint gpus(const Placement& at) const;
  void network_changed();
  void watch_network();

  const ServeClock clock_;
  bool relayed_ = false;
  std::size_t entry_ = 0;
  std::size_t decode_ = 0;
  Duration frontend_{0};
  const std::size_t relay_bytes_;
  const DisaggregationSpec hand_over_;
  const RouterConfig router_;
  const Slo slo_;
  std::atomic<std::uint32_t> next_id_{0};
  std::vector<std::unique_ptr<Pool>> pools_;  // fixed after create; routers and flags under mutex_
  mutable std::mutex mutex_;
  struct Transfer {
    engine::TransferId id;
    std::function<void()> arrived;
  };
  engine::DeployedNetwork network_;  // under mutex_, as are the next two
  std::map<std::uint64_t, Transfer> transfers_;
  std::uint64_t next_transfer_ = 0;
  net::steady_timer network_timer_;  // on its strand
};

}  // namespace dyn::serve
