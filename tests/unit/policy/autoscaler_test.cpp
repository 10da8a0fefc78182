#include "dyn/policy/autoscaler.h"

#include <array>
#include <catch2/catch.hpp>

namespace dyn::policy {
namespace {

using namespace std::chrono_literals;

/// A step takes 10 ms, 10 us a prompt token and 100 us a decoding sequence.
class Timer final : public perf::StepTimer {
 public:
  Duration step_time(const perf::StepBatch& batch) const noexcept override {
    return 10ms + 10us * batch.prefill_tokens + 100us * batch.decode_sequences;
  }
};

PoolFacts facts() {
  static const Timer timer;
  PoolFacts facts;
  facts.worker.timer = &timer;
  facts.worker.step_tokens = 1000;
  facts.worker.kv_tokens = 1'000'000;
  facts.worker.itl = 30ms;
  facts.cold_start = 30s;
  return facts;
}

AutoscalerSpec spec(AutoscalerKind kind) {
  AutoscalerSpec spec;
  spec.kind = kind;
  spec.max_replicas = 20;
  return spec;
}

PoolMetrics pool(int ready, std::int64_t queued, double kv) {
  PoolMetrics metrics;
  metrics.ready = ready;
  metrics.queued_tokens = queued;
  metrics.kv_in_use = kv;
  return metrics;
}

TEST_CASE("capacity is that of the slowest thing a worker does") {
  CapacityQuestion ask = facts().worker;
  ask.prompt_tokens = ask.computed_tokens = 2500;
  ask.output_tokens = 100;
  ask.role = WorkerRole::prefill;  // steps of 20, 20 and 15 ms
  CHECK(request_capacity(ask) == Approx(1 / 0.055));
  ask.role = WorkerRole::decode;  // 200 sequences make a step of 30 ms
  CHECK(request_capacity(ask) == Approx(200 / (100 * 0.030)));
  ask.max_num_seqs = 50;
  CHECK(request_capacity(ask) == Approx(50 / (100 * 0.015)));
  ask.kv_tokens = 26'000;  // ten requests
  CHECK(request_capacity(ask) == Approx(10 / (100 * 0.011)));
  ask.itl = 1ms;  // nobody keeps it
  CHECK(request_capacity(ask) == Approx(1 / (100 * 0.0101)));
}

TEST_CASE("an aggregated worker's prompts stretch its decode steps") {
  CapacityQuestion ask = facts().worker;
  ask.prompt_tokens = ask.computed_tokens = 1000;  // 20 ms
  ask.output_tokens = 100;
  // 10 ms + n * 0.1 ms + n * 20 ms / 100 = 30 ms at n = 66.
  CHECK(request_capacity(ask) == Approx(66 / (100 * 0.0166 + 66 * 0.020)));
}

TEST_CASE("load: a pool grows to what its queue or its KV needs") {
  Autoscaler scaler(spec(AutoscalerKind::load), facts());
  CHECK(scaler.decide(pool(2, 2000, 0.5), SimTime(0s)) == 2);
  CHECK(scaler.decide(pool(2, 2001, 0.5), SimTime(0s)) == 3);
  CHECK(scaler.decide(pool(2, 9000, 0.5), SimTime(0s)) == 6);  // max_step 4
  CHECK(scaler.decide(pool(4, 0, 0.9), SimTime(0s)) == 5);
}

TEST_CASE("load: workers that are starting count, so that it does not grow twice") {
  Autoscaler scaler(spec(AutoscalerKind::load), facts());
  PoolMetrics metrics = pool(2, 2900, 0.9);
  metrics.starting = 1;
  CHECK(scaler.decide(metrics, SimTime(0s)) == 3);
}

TEST_CASE("load: a pool shrinks one by one, and only where the rest would not be full") {
  Autoscaler scaler(spec(AutoscalerKind::load), facts());
  CHECK(scaler.decide(pool(4, 0, 0.3), SimTime(0s)) == 3);    // 1.2 of 3 workers' KV
  CHECK(scaler.decide(pool(4, 0, 0.45), SimTime(0s)) == 4);   // 1.8 of 3: above kv_low
  CHECK(scaler.decide(pool(4, 301, 0.3), SimTime(0s)) == 4);  // queue above a tenth of three steps
  CHECK(scaler.decide(pool(1, 0, 0), SimTime(0s)) == 1);
}

TEST_CASE("a pool that changed rests before it shrinks") {
  Autoscaler scaler(spec(AutoscalerKind::load), facts());
  scaler.changed(2, 3, SimTime(100s));
  CHECK(scaler.decide(pool(3, 0, 0), SimTime(159s)) == 3);
  CHECK(scaler.decide(pool(3, 9000, 0), SimTime(101s)) == 7);  // growing does not wait
  CHECK(scaler.decide(pool(3, 0, 0), SimTime(160s)) == 2);
  scaler.changed(3, 2, SimTime(160s));
  CHECK(scaler.decide(pool(2, 0, 0), SimTime(200s)) == 2);
}

TEST_CASE("bounds hold whatever the load") {
  AutoscalerSpec bounded = spec(AutoscalerKind::load);
  bounded.min_replicas = 2;
  bounded.max_replicas = 3;
  Autoscaler scaler(bounded, facts());
  CHECK(scaler.decide(pool(2, 0, 0), SimTime(0s)) == 2);
  CHECK(scaler.decide(pool(2, 1'000'000, 1), SimTime(0s)) == 3);
  CHECK(scaler.decide(pool(1, 0, 0), SimTime(0s)) == 2);
}

PoolMetrics arrivals(int ready, std::int64_t count) {
  PoolMetrics metrics = pool(ready, 100 * ready, 0.6);
  metrics.arrivals = count;
  metrics.prompt_tokens = 1000 * count;
  metrics.output_tokens = 100 * count;
  return metrics;
}

TEST_CASE("forecast: a steady rate gets its capacity and headroom") {
  Autoscaler scaler(spec(AutoscalerKind::forecast), facts());
  int wanted = 0;
  for (int i = 0; i < 20; ++i) {
    wanted = scaler.decide(arrivals(5, 800), SimTime(i * 10s));
  }
  CHECK(scaler.forecast() == Approx(80));
  CHECK(scaler.capacity() == Approx(66 / (100 * 0.0166 + 66 * 0.020)));
  CHECK(wanted == 5);  // 80 * 1.2 / 22.1 = 4.3
}

TEST_CASE("forecast: a rising rate is met before it is there") {
  Autoscaler scaler(spec(AutoscalerKind::forecast), facts());
  for (int i = 0; i < 30; ++i) {
    scaler.decide(arrivals(5, 100 + 20 * i), SimTime(i * 10s));
  }
  // 2 requests/s more each interval; four intervals ahead.
  CHECK(scaler.forecast() == Approx(68 + 4 * 2).epsilon(0.02));
}

TEST_CASE("forecast: a queue that it did not foresee makes it grow all the same") {
  Autoscaler scaler(spec(AutoscalerKind::forecast), facts());
  PoolMetrics metrics = arrivals(2, 10);
  metrics.queued_tokens = 5000;
  CHECK(scaler.decide(metrics, SimTime(0s)) == 5);
}

TEST_CASE("a budget cuts growth, the largest first, and shrinks nobody") {
  std::array<PoolWish, 2> wishes{PoolWish{2, 6, 2}, PoolWish{3, 4, 4}};
  fit_budget(wishes, 24);
  CHECK(wishes[0].wanted == 4);
  CHECK(wishes[1].wanted == 4);
  fit_budget(wishes, 10);
  CHECK(wishes[0].wanted == 2);
  CHECK(wishes[1].wanted == 3);
}

}  // namespace
}  // namespace dyn::policy
