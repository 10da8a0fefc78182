// Random fleets under random loads. simulate() itself asserts that no request, block or router
// booking is lost; here, that how and where a run is computed makes no difference.
#include <rapidcheck.h>

#include <array>
#include <catch2/catch.hpp>
#include <thread>

#include "../unit/sim/fleets.h"
#include "dyn/core/random.h"

namespace dyn::sim {
namespace {

using namespace test;

/// A fleet and a load drawn from a seed. Times are round, so that many things fall on one instant.
struct Scene {
  Fleet fleet;
  Workload load;
};

PoolSpec draw_pool(RandomStream& random, WorkerRole role) {
  PoolSpec out = pool(role, 1 + static_cast<int>(random.below(3)));
  out.layout.data = 1 + static_cast<int>(random.below(2));
  static const std::array<const char*, 3> kKinds{"vllm", "sglang", "trtllm"};
  out.config.kind = kKinds[random.below(3)];
  out.config.max_num_seqs = 1 + static_cast<int>(random.below(12));
  out.config.max_num_batched_tokens = 64 << random.below(6);
  out.config.block_size = 16 << random.below(2);
  out.config.kv_blocks = 90 + static_cast<std::int64_t>(random.below(200));
  out.config.prefix_caching = random.below(4) != 0;
  return out;
}

LinearTimer::Times draw_times(RandomStream& random) {
  LinearTimer::Times times;
  times.base = us(100 * (1 + static_cast<std::int64_t>(random.below(5))));
  times.per_prefill = us(static_cast<std::int64_t>(random.below(3)));
  times.per_decode = us(static_cast<std::int64_t>(random.below(2)) * 50);
  times.per_context = Duration(static_cast<std::int64_t>(random.below(2)) * 100);
  times.frontend = us(static_cast<std::int64_t>(random.below(2)) * 100);
  return times;
}

Workload draw_load(RandomStream& random) {
  Workload out;
  out.block_tokens = 128;
  out.concurrency = random.below(2) == 0 ? 0 : 1 + static_cast<std::int32_t>(random.below(30));
  const std::uint64_t count = 1 + random.below(80);
  const std::uint64_t gap = 1 + random.below(20);
  std::int64_t now = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    WorkloadRequest request;
    now += static_cast<std::int64_t>(random.below(gap)) * 100;
    request.arrival = SimTime(us(now));
    request.input_tokens = 1 + static_cast<std::int64_t>(random.below(900));
    request.output_tokens = 1 + static_cast<std::int64_t>(random.below(90));
    request.first_block = static_cast<std::uint32_t>(out.blocks.size());
    request.block_count = static_cast<std::uint32_t>((request.input_tokens + 127) / 128);
    kvbm::BlockHash hash = kvbm::chain_root("scene");
    for (std::uint32_t b = 0; b < request.block_count; ++b) {
      hash = kvbm::chain(hash, random.below(3));
      out.blocks.push_back(hash);
    }
    out.requests.push_back(request);
  }
  if (random.below(2) == 0) {
    cut_prompts(out);
  }
  return out;
}

Scene draw_scene(std::uint64_t seed) {
  RandomStream random(seed, "scene");
  Scene scene;
  if (random.below(2) == 0) {
    scene.fleet.plan.pools = {draw_pool(random, WorkerRole::aggregated)};
  } else {
    scene.fleet.plan.pools = {draw_pool(random, WorkerRole::prefill),
                              draw_pool(random, WorkerRole::decode)};
    scene.fleet.plan.transfer = {BytesPerSec(1e9), us(100), Bytes(1000)};
  }
  for (std::size_t i = 0; i < scene.fleet.plan.pools.size(); ++i) {
    scene.fleet.timers.push_back(timer(draw_times(random)));
  }
  scene.fleet.plan.router.kind = static_cast<RouterKind>(random.below(4));
  scene.fleet.plan.router.temperature = random.below(2) == 0 ? 0 : 0.5;
  scene.fleet.plan.router.max_queued_per_worker = 2 + static_cast<int>(random.below(40));
  scene.load = draw_load(random);
  return scene;
}

TEST_CASE("fast-forward and step-by-step runs have the same figures to the nanosecond") {
  REQUIRE(rc::check([](std::uint64_t seed) {
    const Scene scene = draw_scene(seed);
    SimulationSpec spec = scene.fleet.spec();
    const SimulationResult fast = simulate(spec, scene.load);
    spec.stepping = engine::Stepping::every_step;
    const SimulationResult slow = simulate(spec, scene.load);
    RC_ASSERT(same_figures(fast, slow));
    RC_ASSERT(fast.steps == slow.steps);
    RC_ASSERT(fast.events <= slow.events);
  }));
}

TEST_CASE("a horizon cuts fast-forward and step-by-step runs at the same point") {
  REQUIRE(rc::check([](std::uint64_t seed) {
    const Scene scene = draw_scene(seed);
    SimulationSpec spec = scene.fleet.spec();
    spec.horizon = us(static_cast<std::int64_t>(seed % 300) * 100);
    const SimulationResult fast = simulate(spec, scene.load);
    spec.stepping = engine::Stepping::every_step;
    RC_ASSERT(same_figures(fast, simulate(spec, scene.load)));
  }));
}

TEST_CASE("blocks counted by segment give the run that blocks counted one by one give") {
  REQUIRE(rc::check([](std::uint64_t seed) {
    Scene scene = draw_scene(seed);
    if (scene.fleet.plan.router.kind == RouterKind::kv_aware) {
      return;  // it counts what active prompts share in pieces of their segments
    }
    cut_prompts(scene.load);
    const SimulationResult cut = simulate(scene.fleet.spec(), scene.load);
    scene.load.segments.clear();
    for (WorkloadRequest& request : scene.load.requests) {
      request.segment_count = 0;
    }
    const SimulationResult whole = simulate(scene.fleet.spec(), scene.load);
    RC_ASSERT(same_figures(cut, whole));
    RC_ASSERT(cut.fingerprint == whole.fingerprint);
  }));
}

TEST_CASE("the same run on several threads at once gives the same bytes") {
  REQUIRE(rc::check([](std::uint64_t seed) {
    const Scene scene = draw_scene(seed);
    const SimulationResult alone = simulate(scene.fleet.spec(), scene.load);
    std::vector<SimulationResult> together(3);
    std::vector<std::thread> threads;
    for (SimulationResult& result : together) {
      threads.emplace_back([&] { result = simulate(scene.fleet.spec(), scene.load); });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    for (const SimulationResult& result : together) {
      RC_ASSERT(same_figures(alone, result));
      RC_ASSERT(result.fingerprint == alone.fingerprint);
      RC_ASSERT(to_json(result.report) == to_json(alone.report));
    }
  }));
}

TEST_CASE("every request that is sent ends, in order of time, whatever the fleet") {
  REQUIRE(rc::check([](std::uint64_t seed) {
    const Scene scene = draw_scene(seed);
    const SimulationResult result = simulate(scene.fleet.spec(), scene.load);
    RC_ASSERT(result.records.size() == scene.load.requests.size());
    const bool moved = scene.fleet.plan.pools.size() == 2;
    for (const RequestRecord& record : result.records) {
      if (record.status == RequestStatus::rejected) {
        continue;
      }
      RC_ASSERT(record.status == RequestStatus::completed);
      RC_ASSERT(record.sent <= record.first_scheduled);
      RC_ASSERT(record.first_scheduled + record.transfer < record.first_token);
      RC_ASSERT(record.first_token <= record.finished);
      RC_ASSERT(record.cached_tokens < record.input_tokens);
      RC_ASSERT((record.prefill_worker >= 0) == moved);
      RC_ASSERT((record.transfer > Duration{0}) == moved);
    }
  }));
}

}  // namespace
}  // namespace dyn::sim
