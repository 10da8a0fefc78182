#pragma once

// Small fleets with step times that can be computed by hand.

#include <memory>
#include <vector>

#include "dyn/sim/simulation.h"
#include "paths.h"

namespace dyn::sim::test {

using dyn::test::have_reference_data;
using dyn::test::reference_data;
using dyn::test::source_path;

constexpr Duration ms(std::int64_t count) {
  return Duration(count * 1'000'000);
}
constexpr Duration us(std::int64_t count) {
  return Duration(count * 1'000);
}
inline SimTime at(Duration since_start) {
  return SimTime(since_start);
}

/// A step takes base + per_prefill * prompt tokens + per_decode * decoding sequences
/// + per_context * (KV tokens they attend to).
class LinearTimer final : public perf::StepTimer {
 public:
  struct Times {
    Duration base = ms(1);
    Duration per_prefill{0};
    Duration per_decode{0};
    Duration per_context{0};
    Duration frontend{0};
  };
  explicit LinearTimer(Times times) : times_(times) {}
  Duration step_time(const perf::StepBatch& batch) const noexcept override {
    return times_.base + times_.per_prefill * batch.prefill_tokens +
           times_.per_decode * batch.decode_sequences + times_.per_context * batch.decode_context;
  }
  Duration frontend_time() const noexcept override { return times_.frontend; }

 private:
  Times times_;
};

inline std::shared_ptr<const perf::StepTimer> timer(LinearTimer::Times times) {
  return std::make_shared<LinearTimer>(times);
}

inline PoolSpec pool(WorkerRole role, int replicas) {
  PoolSpec out;
  out.role = role;
  out.replicas = replicas;
  out.config.block_size = 16;
  out.config.kv_blocks = 100'000;
  out.config.max_model_len = 200'000;
  out.config.max_num_batched_tokens = 8192;
  out.config.max_num_seqs = 256;
  return out;
}

/// A plan with its timers; `spec()` points into it.
struct Fleet {
  Plan plan;
  std::vector<std::shared_ptr<const perf::StepTimer>> timers;
  ImageTimers images{};

  SimulationSpec spec() const {
    SimulationSpec out;
    out.plan = &plan;
    out.timers = timers;
    out.images = images;
    return out;
  }
};

inline Fleet aggregated(int replicas, LinearTimer::Times times,
                        RouterKind router = RouterKind::round_robin) {
  Fleet fleet;
  fleet.plan.pools = {pool(WorkerRole::aggregated, replicas)};
  fleet.plan.router.kind = router;
  fleet.plan.router.max_queued_per_worker = 1'000'000;
  fleet.timers = {timer(times)};
  return fleet;
}

inline Fleet disaggregated(int prefills, int decodes, LinearTimer::Times prefill,
                           LinearTimer::Times decode, RouterKind router = RouterKind::round_robin) {
  Fleet fleet;
  fleet.plan.pools = {pool(WorkerRole::prefill, prefills), pool(WorkerRole::decode, decodes)};
  fleet.plan.router.kind = router;
  fleet.plan.router.max_queued_per_worker = 1'000'000;
  fleet.timers = {timer(prefill), timer(decode)};
  return fleet;
}

/// Image times of so much each.
inline std::shared_ptr<const perf::ImageTimer> image_timer(Duration each) {
  StepTiming timing;
  timing.image_time = each;
  return perf::image_timer(ModelSpec{}, timing, 1, "vllm", Profile{});
}
/// The workers encode their images themselves, in so much time each.
inline void encode_in_engines(Fleet& fleet, Duration each) {
  fleet.images.pools.assign(fleet.plan.pools.size(), image_timer(each));
}
/// An encode pool does, whose embeddings have 1000 bytes a token.
inline void encode_apart(Fleet& fleet, EncodeWorkers workers, Duration each) {
  fleet.plan.encode.emplace();
  static_cast<EncodeWorkers&>(*fleet.plan.encode) = workers;
  fleet.plan.model.hidden = 500;
  fleet.plan.model.vision.emplace();
  fleet.images.encode = image_timer(each);
}

/// A workload of requests that share nothing: (arrival, input, output).
struct Ask {
  Duration arrival;
  std::int64_t input;
  std::int64_t output;
};
inline Workload workload(const std::vector<Ask>& asks, int concurrency = 0) {
  Workload out;
  out.concurrency = concurrency;
  for (const Ask& ask : asks) {
    WorkloadRequest request;
    request.arrival = at(ask.arrival);
    request.input_tokens = ask.input;
    request.output_tokens = ask.output;
    out.requests.push_back(request);
  }
  return out;
}

inline double mean_of(const Report& report, const std::string& tag) {
  const Metric* metric = report.find(tag);
  return metric ? metric->avg : -1;
}

/// Whether two results are the same in every figure that a user sees; the events may differ.
inline bool same_figures(const SimulationResult& a, const SimulationResult& b) {
  const auto same_record = [](const RequestRecord& x, const RequestRecord& y) {
    return x.id == y.id && x.status == y.status && x.sent == y.sent &&
           x.first_scheduled == y.first_scheduled && x.first_token == y.first_token &&
           x.second_token == y.second_token && x.finished == y.finished &&
           x.transfer == y.transfer && x.encode == y.encode && x.tier_tokens == y.tier_tokens &&
           x.kv_load == y.kv_load && x.input_tokens == y.input_tokens &&
           x.output_tokens == y.output_tokens && x.cached_tokens == y.cached_tokens &&
           x.prefill_worker == y.prefill_worker && x.worker == y.worker &&
           x.preemptions == y.preemptions && x.migrations == y.migrations &&
           x.attempts == y.attempts;
  };
  const auto same_load = [](const engine::EngineLoad& x, const engine::EngineLoad& y) {
    return x.running == y.running && x.waiting == y.waiting && x.used_blocks == y.used_blocks &&
           x.cached_blocks == y.cached_blocks && x.steps == y.steps &&
           x.preemptions == y.preemptions;
  };
  Report left = a.report;
  Report right = b.report;
  left.fingerprint = right.fingerprint = 0;
  return std::equal(a.records.begin(), a.records.end(), b.records.begin(), b.records.end(),
                    same_record) &&
         std::equal(a.engines.begin(), a.engines.end(), b.engines.begin(), b.engines.end(),
                    same_load) &&
         to_json(left) == to_json(right) && to_json(a.fleet) == to_json(b.fleet);
}

}  // namespace dyn::sim::test
