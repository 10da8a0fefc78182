#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "dyn/engine/deployed_tiers.h"
#include "dyn/perf/step_timer.h"
#include "dyn/serve/worker.h"
#include "net.h"
#include "serve_clock.h"

namespace dyn::serve {

/// The tiers of a worker's pool, and the worker's own way to them. Workers that share a tier do not
/// feel each other's transfers.
struct TierPaths {
  engine::DeployedTiers tiers;
  engine::Network network;
  engine::SiteId site;
};

/// A worker whose engine is the simulator's state machine, driven by the real clock: everything
/// happens on one strand, and a timer waits for the engine's next event. The ranks of one worker
/// step together, so they share a strand.
class SimulatedWorker final : public Worker, public std::enable_shared_from_this<SimulatedWorker> {
 public:
  /// `first`: another rank of the same worker, on the same strand.
  SimulatedWorker(const net::any_io_executor& strand, const ServeClock& clock,
                  engine::EngineOptions options, std::shared_ptr<const perf::StepTimer> timer,
                  TierPaths paths, WorkerListener listener, SimulatedWorker* first = nullptr);

  void start(std::shared_ptr<const Job> job, std::optional<Prefilled> prefilled,
             std::shared_ptr<EventSink> sink) override;
  void cancel(RequestId id) override;
  void kv_received(RequestId id) override;
  void release_held(RequestId id) override;
  engine::EngineLoad load() const override;
  void stop() override;

 private:
  struct Call {
    std::shared_ptr<const Job> job;
    std::shared_ptr<EventSink> sink;
    bool held = false;  ///< prefill role: computed, KV not yet released
  };

  template <class Operation>
  void on_strand(Operation operation);
  void begin(const std::shared_ptr<const Job>& job, bool remote_prefill,
             std::shared_ptr<EventSink> sink);
  void withdraw(RequestId id);
  void let_go(RequestId id);
  /// When the engine or a transfer between tiers is due.
  std::optional<SimTime> next_event() const;
  void end_transfers(SimTime at);
  /// Runs the engine up to now, step by step.
  void catch_up(SimTime now);
  void advance(SimTime at);
  void dispatch();
  /// Keeps a job until the engine can no longer look at it.
  void retire(Call call);
  /// After any change: publishes the load and waits for the next event.
  void settle();

  net::any_io_executor strand_;
  const ServeClock clock_;
  const WorkerListener listener_;

  // On the strand only. What the engine points into comes before it.
  std::map<RequestId, Call> calls_;
  std::vector<std::pair<SimTime, std::shared_ptr<const Job>>> retired_;
  TierPaths paths_;
  const engine::EngineOptions options_;
  engine::Engine engine_;
  engine::Outcome outcome_;
  std::vector<engine::Network::Arrived> arrived_;  ///< reused
  SimTime last_{};
  net::steady_timer timer_;
  bool stopped_ = false;

  mutable std::mutex load_mutex_;
  engine::EngineLoad load_;
};

}  // namespace dyn::serve
