// Random fleets under random loads. simulate() itself asserts that no request, block or router
// booking is lost; here, that how and where a run is computed makes no difference.
#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <thread>

#include "sim_scenes.h"

namespace dyn::sim {
namespace {

using namespace test;

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
