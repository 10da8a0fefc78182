// What goes wrong, by hand.
#include <catch2/catch.hpp>

#include "fleets.h"

namespace dyn::sim {
namespace {

using namespace test;
using namespace std::chrono_literals;

SimulationResult run(const Fleet& fleet, const FaultSpec& faults, const Workload& load) {
  SimulationSpec spec = fleet.spec();
  spec.faults = &faults;
  const SimulationResult fast = simulate(spec, load);
  spec.stepping = engine::Stepping::every_step;
  CHECK(same_figures(fast, simulate(spec, load)));
  return fast;
}

FaultSpec one(FaultKind kind, Duration when, std::optional<Duration> duration = std::nullopt) {
  FaultSpec faults;
  FaultEvent event;
  event.kind = kind;
  event.at = when;
  event.duration = duration;
  faults.schedule.push_back(event);
  return faults;
}

TEST_CASE("a request of a crashed worker goes on elsewhere from the tokens that it has") {
  // Steps of 1 ms and 100 us a prompt token.
  Fleet fleet = aggregated(2, {.base = ms(1), .per_prefill = us(100)});
  const SimulationResult result =
      run(fleet, one(FaultKind::worker_crash, us(15'500), ms(50)), workload({{ms(0), 100, 10}}));
  const RequestRecord& record = result.records[0];
  // First token at 11 ms, four more by 15; from 15.5 a prompt of 105 tokens: 11.5 ms.
  CHECK(record.first_token == at(ms(11)));
  CHECK(record.second_token == at(ms(12)));
  CHECK(record.finished == at(us(15'500) + us(11'500) + ms(4)));
  CHECK(record.output_tokens == 10);
  CHECK(record.worker == 1);
  CHECK(record.migrations == 1);
  REQUIRE(result.fleet.faults.size() == 1);
  CHECK(result.fleet.faults[0].requests == 1);
  CHECK(result.fleet.faults[0].migrated == 1);
  CHECK(result.fleet.faults[0].lost_tokens == 104);
  CHECK(result.fleet.faults[0].until == at(us(65'500)));
}

TEST_CASE("without migration it fails, and its client may ask again") {
  Fleet fleet = aggregated(1, {.base = ms(1), .per_prefill = us(100)});
  FaultSpec faults = one(FaultKind::worker_crash, us(15'500), ms(20));
  faults.migration = false;
  SimulationResult result = run(fleet, faults, workload({{ms(0), 100, 10}}));
  CHECK(result.records[0].status == RequestStatus::failed);
  CHECK(result.records[0].finished == at(us(15'500)));
  faults.retry.attempts = 4;
  faults.retry.backoff = ms(4);
  faults.retry.jitter = 0;
  result = run(fleet, faults, workload({{ms(0), 100, 10}}));
  // Again at 19.5 and 27.5 ms, when nobody is there, and at 43.5 ms.
  CHECK(result.records[0].status == RequestStatus::completed);
  CHECK(result.records[0].attempts == 4);
  CHECK(result.records[0].first_token == at(us(43'500) + ms(11)));
  CHECK(result.fleet.retries == 3);
}

TEST_CASE("a request may move only so often") {
  Fleet fleet = aggregated(1, {.base = ms(10)});
  FaultSpec faults;
  for (int i = 0; i < 4; ++i) {
    faults.schedule.push_back(
        {FaultKind::worker_crash, ms(15 + 10 * i), std::nullopt, false, 0, ms(0)});
  }
  faults.migration_limit = 3;
  fleet.plan.router.hold_above = 5;  // it waits for the worker to be back
  const SimulationResult result = run(fleet, faults, workload({{ms(0), 10, 50}}));
  CHECK(result.records[0].status == RequestStatus::failed);
  CHECK(result.records[0].migrations == 3);
}

TEST_CASE("a slow node takes longer from its next step on, until it is whole again") {
  Fleet fleet = aggregated(1, {.base = ms(10)});
  FaultSpec faults = one(FaultKind::slow_node, ms(25), ms(50));
  faults.schedule[0].factor = 0.5;
  const SimulationResult result = run(fleet, faults, workload({{ms(0), 10, 10}}));
  // Steps end at 10, 20, 30, then take 20 until the one that begins at 70, then 10 again.
  CHECK(result.records[0].finished == at(ms(90) + ms(40)));
  CHECK(result.records[0].migrations == 0);
}

TEST_CASE("a worker under notice ends what it can and takes nothing new") {
  Fleet fleet = aggregated(2, {.base = ms(10)});
  FaultSpec faults = one(FaultKind::spot_reclaim, ms(5));
  faults.schedule[0].notice = ms(40);
  const SimulationResult result =
      run(fleet, faults, workload({{ms(0), 10, 3}, {ms(6), 10, 3}, {ms(7), 10, 3}}));
  CHECK(result.records[0].worker == 0);
  CHECK(result.records[0].finished == at(ms(30)));
  CHECK(result.records[1].worker == 1);
  CHECK(result.records[2].worker == 1);
  CHECK(result.fleet.migrations == 0);
  CHECK(result.fleet.faults[0].requests == 0);
  // It is not paid for once it is empty: 30 ms of one GPU, and 46 ms of the other.
  CHECK(result.fleet.pools[0].gpu_hours * 3600 == Approx(0.030 + 0.046));
}

TEST_CASE("what a worker under notice cannot end moves when it is taken") {
  Fleet fleet = aggregated(2, {.base = ms(10)});
  FaultSpec faults = one(FaultKind::spot_reclaim, ms(5), ms(20));
  faults.schedule[0].notice = ms(40);
  const SimulationResult result = run(fleet, faults, workload({{ms(0), 10, 20}}));
  CHECK(result.records[0].worker == 1);
  CHECK(result.records[0].migrations == 1);
  CHECK(result.records[0].finished == at(ms(45) + ms(160)));  // four made, sixteen to come
  CHECK(result.fleet.faults[0].until == at(ms(65)));
}

TEST_CASE("lost KV is computed again, by whoever the router chooses") {
  Fleet fleet = aggregated(1, {.base = ms(1), .per_prefill = us(100)});
  const SimulationResult result =
      run(fleet, one(FaultKind::kv_loss, us(15'500)), workload({{ms(0), 100, 10}}));
  CHECK(result.records[0].finished == at(us(15'500) + us(11'500) + ms(4)));
  CHECK(result.records[0].migrations == 0);
  CHECK(result.fleet.lost_tokens == 104);
}

TEST_CASE("a router that starts again has forgotten who is busy") {
  Fleet fleet = aggregated(2, {.base = ms(10)}, RouterKind::least_loaded);
  const Workload load = workload({{ms(0), 10, 90}, {ms(1), 10, 2}, {ms(100), 10, 2}});
  const SimulationResult before = run(fleet, {}, load);
  CHECK(before.records[2].worker != before.records[0].worker);
  // All that it knows then is that nobody has anything, so that chance decides.
  int same = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const FaultSpec faults = one(FaultKind::router_restart, ms(50));
    SimulationSpec spec = fleet.spec();
    spec.seed = seed;
    spec.faults = &faults;
    const SimulationResult after = simulate(spec, load);
    same += after.records[2].worker == after.records[0].worker ? 1 : 0;
  }
  CHECK(same > 3);
  CHECK(same < 17);
}

TEST_CASE("a client that gives up leaves its worker, and tries again with growing waits") {
  Fleet fleet = aggregated(1, {.base = ms(10)});
  fleet.plan.pools[0].config.max_num_seqs = 1;
  FaultSpec faults;
  faults.retry = {3, ms(10), 2, 0, ms(25)};
  const SimulationResult result =
      run(fleet, faults, workload({{ms(0), 10, 11}, {ms(1), 10, 1}, {ms(80), 10, 1}}));
  CHECK(result.records[0].status == RequestStatus::completed);
  // Given up at 26, again at 36, given up at 61, again at 81, and given up at 106.
  CHECK(result.records[1].status == RequestStatus::failed);
  CHECK(result.records[1].finished == at(ms(106)));
  CHECK(result.records[1].attempts == 3);
  CHECK(result.fleet.retries >= 3);
}

TEST_CASE("faults at given rates are as many as these say, the same for every seed") {
  Fleet fleet = aggregated(4, {.base = ms(10)});
  FaultSpec faults;
  FaultRate rate;
  rate.kind = FaultKind::slow_node;
  rate.mean_between = ms(500);
  rate.duration = ms(100);
  faults.rates = {rate};
  std::vector<Ask> asks;
  for (int i = 0; i < 1000; ++i) {
    asks.push_back({ms(100 * i), 10, 2});
  }
  SimulationSpec spec = fleet.spec();
  spec.faults = &faults;
  const SimulationResult result = simulate(spec, workload(asks));
  CHECK(result.fleet.faults.size() == Approx(200).margin(45));  // three deviations
  const SimulationResult again = simulate(spec, workload(asks));
  CHECK(again.fingerprint == result.fingerprint);
  CHECK(to_json(again.fleet) == to_json(result.fleet));
  spec.seed = 2;
  CHECK(to_json(simulate(spec, workload(asks)).fleet) != to_json(result.fleet));
}

TEST_CASE("goodput is that of before and that of while a fault lasts") {
  Fleet fleet = aggregated(1, {.base = ms(10)});
  fleet.plan.slo.e2e_p99 = ms(100);
  FaultSpec faults = one(FaultKind::slow_node, ms(3000), ms(2000));
  faults.schedule[0].factor = 0.05;
  std::vector<Ask> asks;
  for (int i = 0; i < 100; ++i) {
    asks.push_back({ms(100 * i), 10, 2});
  }
  const SimulationResult result = run(fleet, faults, workload(asks));
  CHECK(result.fleet.faults[0].goodput_before == Approx(10));
  CHECK(result.fleet.faults[0].goodput_during == Approx(0).margin(0.6));
}

TEST_CASE("where nobody comes back requests fail instead of waiting for ever") {
  Fleet fleet = aggregated(1, {.base = ms(10)});
  fleet.plan.router.hold_above = 3;
  FaultSpec faults = one(FaultKind::spot_reclaim, ms(25));
  faults.schedule[0].notice = ms(0);
  const SimulationResult result = run(fleet, faults, workload({{ms(0), 10, 9}, {ms(50), 10, 9}}));
  CHECK(result.records[0].status == RequestStatus::failed);
  CHECK(result.records[1].status == RequestStatus::failed);
}

}  // namespace
}  // namespace dyn::sim
