#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "dyn/core/faults.h"
#include "dyn/core/plan.h"
#include "dyn/core/report.h"
#include "dyn/engine/engine.h"
#include "dyn/perf/image_timer.h"
#include "dyn/perf/step_timer.h"
#include "dyn/sim/fleet_history.h"
#include "dyn/sim/run_sink.h"
#include "dyn/sim/timeline.h"
#include "dyn/sim/workload.h"

namespace dyn::sim {

/// The times that images take to encode.
struct ImageTimers {
  /// One per pool of the plan, in order, where who computes a prompt encodes its images; else none.
  std::vector<std::shared_ptr<const perf::ImageTimer>> pools;
  std::shared_ptr<const perf::ImageTimer> encode;  ///< of the plan's encode pool
};

/// The fleet of a simulation. Step times come per pool so that a test can replace them.
struct SimulationSpec {
  const Plan* plan = nullptr;
  /// One per pool of the plan, in order.
  std::vector<std::shared_ptr<const perf::StepTimer>> timers;
  ImageTimers images;  ///< where the workload has images
  std::uint64_t seed = 1;
  engine::Stepping stepping = engine::Stepping::fast_forward;
  RunSink* sink = nullptr;  ///< told of everything; with every_step also of each step
  /// How busy the pools are over time, in at most so many intervals (2 or more); 0: not looked at.
  std::size_t timeline_points = 0;
  const FaultSpec* faults = nullptr;  ///< null: none
  std::optional<Duration> horizon;    ///< stop here; requests still running are `unfinished`
  /// Polled now and then; a run that is cancelled returns what it has, marked unfinished.
  const std::atomic<bool>* cancelled = nullptr;
};

struct SimulationResult {
  Report report;
  std::vector<RequestRecord> records;       ///< of those that were sent, by request number
  std::vector<engine::EngineLoad> engines;  ///< at the end, pool by pool
  FleetHistory fleet;
  std::uint64_t events = 0;
  std::uint64_t steps = 0;
  std::uint64_t fingerprint = 0;  ///< hash of every event in order
  Timeline timeline;
};

/// Runs a workload through a plan's fleet in virtual time: client, router, engines, KV transfers.
/// A pure function of its arguments: equal input gives equal output on any machine and thread.
/// Throws Error(infeasible) for a request that no worker could run even alone, before simulating.
SimulationResult simulate(const SimulationSpec& spec, const Workload& workload);

/// The step times of each pool of a plan.
std::vector<std::shared_ptr<const perf::StepTimer>> compile_timers(const Plan& plan);
/// The image times of a plan for a workload; none where that has no images. Throws as
/// perf::image_timer does.
ImageTimers compile_image_timers(const Plan& plan, const Workload& workload);

}  // namespace dyn::sim
