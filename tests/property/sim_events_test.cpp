// Random fleets under random loads, faults, scaling and hand-overs. simulate() itself asserts that
// no request, block, booking or transfer is lost.
#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "sim_scenes.h"

namespace dyn::sim {
namespace {

using namespace test;

SimulationSpec spec_of(const EventfulScene& scene) {
  SimulationSpec spec = scene.fleet.spec();
  spec.faults = &scene.faults;
  spec.seed = 9;
  return spec;
}

TEST_CASE("whatever befalls a fleet, every request ends, in order of time, with all its tokens") {
  REQUIRE(rc::check([](std::uint64_t seed) {
    const EventfulScene scene = draw_eventful_scene(seed);
    const SimulationResult result = simulate(spec_of(scene), scene.load);
    RC_ASSERT(result.records.size() == scene.load.requests.size());
    std::int64_t migrations = 0;
    for (const RequestRecord& record : result.records) {
      migrations += record.migrations;
      RC_ASSERT(record.status != RequestStatus::unfinished);
      RC_ASSERT(record.finished >= record.sent);
      RC_ASSERT(record.attempts <= scene.faults.retry.attempts);
      if (record.status == RequestStatus::completed) {
        RC_ASSERT(record.output_tokens == scene.load.requests[record.id].output_tokens);
        RC_ASSERT(record.sent <= record.first_scheduled);
        RC_ASSERT(record.first_scheduled < record.first_token);
        RC_ASSERT(record.first_token <= record.finished);
        RC_ASSERT(record.output_tokens == 1 || record.first_token < record.second_token);
      }
    }
    RC_ASSERT(migrations == result.fleet.migrations);
    SimTime last{};
    for (const ReplicaCount& count : result.fleet.replicas) {
      RC_ASSERT(count.at >= last);
      RC_ASSERT(count.ready >= 0 && count.starting >= 0 && count.draining >= 0);
      last = count.at;
    }
    for (const FaultImpact& fault : result.fleet.faults) {
      RC_ASSERT(fault.migrated + fault.failed <= fault.requests);
      RC_ASSERT(fault.until >= fault.at);
    }
  }));
}

TEST_CASE("whatever befalls a fleet, fast-forward and step-by-step runs have the same figures") {
  REQUIRE(rc::check([](std::uint64_t seed) {
    const EventfulScene scene = draw_eventful_scene(seed);
    SimulationSpec spec = spec_of(scene);
    const SimulationResult fast = simulate(spec, scene.load);
    spec.stepping = engine::Stepping::every_step;
    RC_ASSERT(same_figures(fast, simulate(spec, scene.load)));
  }));
}

TEST_CASE("a run ends with its last request, whatever events are left") {
  // Engines went on to tell routers of their caches, one look longer in one of the steppings.
  const EventfulScene scene = draw_eventful_scene(3012180);
  SimulationSpec spec = spec_of(scene);
  const SimulationResult fast = simulate(spec, scene.load);
  spec.stepping = engine::Stepping::every_step;
  CHECK(same_figures(fast, simulate(spec, scene.load)));
}

TEST_CASE(
    "what a rank has to tell is read, though a look at another of its worker ended the step") {
  // The look brought the others' events out, and none was due there before the next step's end.
  EventfulScene scene = draw_eventful_scene(43);
  scene.fleet.plan.pools[0].config.cache_eviction = EvictionKind::lru;
  SimulationSpec spec = spec_of(scene);
  const SimulationResult fast = simulate(spec, scene.load);
  spec.stepping = engine::Stepping::every_step;
  CHECK(same_figures(fast, simulate(spec, scene.load)));
}

TEST_CASE("an autoscaler replaces a worker that was taken for good") {
  // One that was to be back, but never was, let requests wait for it without end.
  const EventfulScene scene = draw_eventful_scene(1080202982587800949u);
  const SimulationResult result = simulate(spec_of(scene), scene.load);
  CHECK(std::none_of(result.records.begin(), result.records.end(), [](const RequestRecord& record) {
    return record.status == RequestStatus::unfinished;
  }));
}

TEST_CASE("whatever befalls a fleet, the same run again gives the same bytes") {
  REQUIRE(rc::check([](std::uint64_t seed) {
    const EventfulScene scene = draw_eventful_scene(seed);
    const SimulationResult one = simulate(spec_of(scene), scene.load);
    const SimulationResult two = simulate(spec_of(scene), scene.load);
    RC_ASSERT(one.fingerprint == two.fingerprint);
    RC_ASSERT(to_json(one.report) == to_json(two.report));
    RC_ASSERT(to_json(one.fleet) == to_json(two.fleet));
  }));
}

TEST_CASE("whatever befalls a fleet, it can be stopped at any time") {
  REQUIRE(rc::check([](std::uint64_t seed) {
    const EventfulScene scene = draw_eventful_scene(seed);
    SimulationSpec spec = spec_of(scene);
    spec.horizon = us(static_cast<std::int64_t>(seed % 500) * 100);
    const SimulationResult fast = simulate(spec, scene.load);
    spec.stepping = engine::Stepping::every_step;
    RC_ASSERT(same_figures(fast, simulate(spec, scene.load)));
  }));
}

}  // namespace
}  // namespace dyn::sim
