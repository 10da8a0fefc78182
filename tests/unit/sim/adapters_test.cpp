// LoRA adapters in whole simulations.
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "dyn/core/error.h"
#include "figures.h"
#include "fleets.h"

namespace dyn::sim {
namespace {

using namespace test;

/// Workers with one or more slots, whose steps take 5 ms. An adapter takes 1 ms from the host and
/// 5 ms more from the disk.
Fleet fleet(int slots, int host_slots, int replicas = 1,
            RouterKind router = RouterKind::round_robin) {
  LinearTimer::Times times;
  times.base = ms(5);
  Fleet out = aggregated(replicas, times, router);
  LoraConfig lora;
  lora.slots = slots;
  lora.host_slots = host_slots;
  lora.size = Bytes(10'000'000);
  out.plan.pools[0].config.lora = lora;
  out.plan.network.host_link = BytesPerSec(1e10);
  out.plan.network.disk_read = BytesPerSec(2.5e9);
  out.plan.network.disk_latency = ms(1);
  return out;
}

TEST_CASE("the step that first uses an adapter is longer by its load") {
  const Fleet f = fleet(1, 2);
  Workload load = workload({{ms(0), 100, 2},
                            {ms(100), 100, 2},
                            {ms(200), 100, 2},
                            {ms(300), 100, 2},
                            {ms(400), 100, 2}});
  load.adapters = {1, 1, 2, 1, 0};
  const SimulationResult run = simulate(f.spec(), load);
  const std::vector<Duration> expected{ms(11), ms(5), ms(11), ms(6), ms(5)};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(run.records[i].first_token - run.records[i].sent == expected[i]);
    CHECK(run.records[i].finished - run.records[i].first_token == ms(5));
  }
  CHECK(figure(run, "adapter_hit_rate") == 0.25);
  CHECK(figure(run, "adapter_host_loads") == 1);
  CHECK(figure(run, "adapter_storage_loads") == 2);
  CHECK(figure(run, "adapter_load_time") == Approx(13));
}

TEST_CASE("a request of an adapter too many waits, and one behind it that fits does not") {
  const Fleet f = fleet(1, 1);
  Workload load = workload({{ms(0), 100, 10}, {ms(1), 100, 10}, {ms(2), 100, 10}});
  load.adapters = {1, 2, 1};
  const SimulationResult run = simulate(f.spec(), load);
  CHECK(run.records[2].first_scheduled < run.records[0].finished);
  CHECK(run.records[1].first_scheduled >= run.records[2].finished);
}

TEST_CASE("routers that see adapters load them less often than those that do not") {
  Traffic traffic;
  traffic.isl = Tokens(200);
  traffic.osl = Tokens(20);
  traffic.requests = 300;
  traffic.rate = RequestsPerSec(60);
  traffic.adapters = AdapterMix{8, 1, 0};
  const Workload load = make_synthetic(traffic, 3);
  const auto loads = [&](RouterKind kind) {
    const SimulationResult run = simulate(fleet(2, 2, 4, kind).spec(), load);
    return figure(run, "adapter_storage_loads");
  };
  const double blind = loads(RouterKind::round_robin);
  CHECK(loads(RouterKind::least_loaded) < 0.9 * blind);
  CHECK(loads(RouterKind::kv_aware) < 0.9 * blind);
}

TEST_CASE("a run without slots has no figures of adapters, and refuses requests with one") {
  Fleet f = fleet(1, 1);
  f.plan.pools[0].config.lora.reset();
  Workload load = workload({{ms(0), 100, 2}});
  CHECK(simulate(f.spec(), load).report.find("adapter_host_loads") == nullptr);
  load.adapters = {1};
  CHECK_THROWS_AS(simulate(f.spec(), load), Error);
}

TEST_CASE("links without bandwidth are an error, not an endless load") {
  Fleet f = fleet(1, 1);
  f.plan.network.host_link = BytesPerSec(0);
  CHECK_THROWS_AS(simulate(f.spec(), workload({{ms(0), 100, 2}})), Error);
}

Traffic adapters(int count, double share, double skew) {
  Traffic traffic;
  traffic.isl = Tokens(64);
  traffic.osl = Tokens(4);
  traffic.requests = 20'000;
  traffic.concurrency = 8;
  traffic.adapters = AdapterMix{count, share, skew};
  return traffic;
}

std::map<std::uint32_t, int> counts(const Workload& load) {
  std::map<std::uint32_t, int> out;
  for (const std::uint32_t adapter : load.adapters) {
    ++out[adapter];
  }
  return out;
}

TEST_CASE("adapters are used by the share that was asked for, by Zipf's law") {
  const auto zipf = counts(make_synthetic(adapters(4, 0.5, 1), 1));
  const double sum = 1 + 1 / 2.0 + 1 / 3.0 + 1 / 4.0;
  CHECK(zipf.at(0) == Approx(10'000).epsilon(0.03));
  for (int k = 1; k <= 4; ++k) {
    CHECK(zipf.at(static_cast<std::uint32_t>(k)) == Approx(10'000 / sum / k).epsilon(0.06));
  }
  const auto even = counts(make_synthetic(adapters(4, 1, 0), 1));
  CHECK(even.count(0) == 0);
  CHECK(even.at(4) == Approx(5000).epsilon(0.06));
}

TEST_CASE("adapters change neither lengths nor arrivals, and share no blocks") {
  Traffic traffic = adapters(3, 0.7, 1);
  traffic.requests = 60;
  traffic.shared_prefix = Tokens(32);
  traffic.turns = 2;
  const Workload with = make_synthetic(traffic, 9);
  traffic.adapters.reset();
  const Workload without = make_synthetic(traffic, 9);
  REQUIRE(with.requests.size() == without.requests.size());
  std::map<kvbm::BlockHash, std::uint32_t> owner;
  for (std::uint32_t i = 0; i < with.requests.size(); ++i) {
    CHECK(with.requests[i].input_tokens == without.requests[i].input_tokens);
    for (std::uint32_t b = 0; b < with.requests[i].block_count; ++b) {
      const kvbm::BlockHash hash = with.blocks[with.requests[i].first_block + b];
      CHECK(owner.emplace(hash, with.adapter_of(i)).first->second == with.adapter_of(i));
    }
  }
  for (const FollowUp& follow : with.follow_ups) {
    CHECK(with.adapter_of(follow.before) == with.adapter_of(follow.after));
  }
}

}  // namespace
}  // namespace dyn::sim
