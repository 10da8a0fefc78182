// Routers that see tiers below the devices, in whole simulations.
#include <algorithm>
#include <catch2/catch.hpp>

#include "dyn/core/catalogue.h"
#include "dyn/core/random.h"
#include "dyn/perf/builtin_profiles.h"
#include "dyn/sim/run_trace.h"
#include "figures.h"
#include "fleets.h"

namespace dyn::sim {
namespace {

using namespace test;

constexpr std::int64_t kBlockBytes = 131'072 * 16;  ///< Llama-3.1-8B, bf16

KvTier tier(std::int64_t blocks, TierScope scope = TierScope::worker) {
  KvTier out;
  out.capacity = Bytes(blocks * kBlockBytes);
  out.scope = scope;
  return out;
}

/// Workers whose devices have room for one prompt and a half, and whose host memory has room for
/// less than five; 20 us a prompt token.
Fleet fleet(int replicas, double credit, RouterCost cost = RouterCost::blocks) {
  LinearTimer::Times times;
  times.base = ms(5);
  times.per_prefill = us(20);
  Fleet out = aggregated(replicas, times, RouterKind::kv_aware);
  out.plan.model = find_model("meta-llama/Llama-3.1-8B-Instruct");
  out.plan.profile = perf::builtin_profile("h100");
  out.plan.pools[0].config.kv_blocks = 200;
  out.plan.kv_tiers.host = tier(600);
  out.plan.router.cost = cost;
  out.plan.router.host_credit = credit;
  return out;
}

/// Prompts of 2048 tokens, each one of 12, again and again and one every `gap`.
Workload prompts(Duration gap, std::size_t count = 200) {
  Workload out;
  out.block_tokens = 16;
  RandomStream random(3, "prompts");
  for (std::size_t i = 0; i < count; ++i) {
    WorkloadRequest request;
    request.arrival = at(gap * static_cast<std::int64_t>(i));
    request.input_tokens = 2048;
    request.output_tokens = 4;
    request.first_block = static_cast<std::uint32_t>(out.blocks.size());
    request.block_count = 128;
    kvbm::BlockHash hash = kvbm::chain_root("prompts");
    const std::uint64_t which = random.below(12);
    for (std::uint64_t b = 0; b < 128; ++b) {
      hash = kvbm::chain(hash, which * 1000 + b);
      out.blocks.push_back(hash);
    }
    out.requests.push_back(request);
  }
  return out;
}

double hits(const SimulationResult& run) {
  return figure(run, "prefix_cache_hit_rate");
}

TEST_CASE("a router that sees host memory sends prompts where they can be loaded, and is faster") {
  const Workload load = prompts(ms(100));
  const SimulationResult blind = simulate(fleet(4, 0).spec(), load);
  for (const RouterCost cost : {RouterCost::blocks, RouterCost::seconds}) {
    const SimulationResult seeing = simulate(fleet(4, 0.75, cost).spec(), load);
    CHECK(hits(seeing) > hits(blind) + 0.2);
    CHECK(figure(seeing, "time_to_first_token") < 0.8 * figure(blind, "time_to_first_token"));
  }
}

TEST_CASE("a credit of nothing, or for a tier that is not there, leaves a run as it is") {
  const Workload load = prompts(ms(20));
  const SimulationResult blind = simulate(fleet(3, 0).spec(), load);
  Fleet other = fleet(3, 0);
  other.plan.router.disk_credit = 1;
  CHECK(to_json(simulate(other.spec(), load).report) == to_json(blind.report));
  Fleet none = fleet(3, 0);
  none.plan.kv_tiers = {};
  const SimulationResult bare = simulate(none.spec(), load);
  none.plan.router.host_credit = 0.5;
  CHECK(simulate(none.spec(), load).fingerprint == bare.fingerprint);
}

TEST_CASE("a shared tier draws prompts to no worker, whoever filled it") {
  const Workload load = prompts(ms(1000), 60);  // one at a time
  const auto workers_of = [&](TierScope scope) {
    Fleet f = fleet(4, 1);
    f.plan.kv_tiers.host = tier(3000, scope);
    const SimulationResult run = simulate(f.spec(), load);
    CHECK(figure(run, "prefix_cache_hit_rate") > 0.7);
    // How many of the twelve prompts were computed or loaded by more than one worker.
    int many = 0;
    for (std::size_t i = 0; i < 12; ++i) {
      std::vector<std::int32_t> workers;
      for (std::size_t r = 0; r < load.requests.size(); ++r) {
        if (load.blocks[load.requests[r].first_block] ==
            load.blocks[load.requests[i].first_block]) {
          workers.push_back(run.records[r].worker);
        }
      }
      std::sort(workers.begin(), workers.end());
      many += workers.front() != workers.back() ? 1 : 0;
    }
    return many;
  };
  CHECK(workers_of(TierScope::worker) == 0);
  CHECK(workers_of(TierScope::shared) > 6);
}

TEST_CASE("what a router sees of an idle fleet is what its engines then find") {
  const Workload load = prompts(ms(1000), 40);
  Fleet f = fleet(3, 0.75);
  f.plan.kv_tiers.host = tier(300);
  f.plan.kv_tiers.disk = tier(600);
  f.plan.kv_tiers.object = tier(5000, TierScope::shared);
  f.plan.router.disk_credit = 0.5;
  f.plan.router.object_credit = 0.25;
  f.timers = {timer({ms(5), ms(1), {}, {}, {}})};  // so slow that all that is there is loaded
  std::array<std::int64_t, 3> seen{};
  for (std::uint32_t request = 0; request < 40; ++request) {
    Explainer explainer(request);
    SimulationSpec spec = f.spec();
    spec.sink = &explainer;
    const SimulationResult run = simulate(spec, load);
    const Explanation found = explainer.result(at(ms(100'000)));
    REQUIRE(found.router_view);
    std::int64_t all = found.router_view->device;
    for (std::size_t tier = 0; tier < 3; ++tier) {
      all += found.router_view->tiers[tier];
      seen[tier] += found.router_view->tiers[tier];
    }
    CHECK(run.records[request].cached_tokens == std::min<std::int64_t>(all, 2032));
    CHECK(to_text(found).find("its router saw") != std::string::npos);
    CHECK(to_json(found).find("router_saw_tokens") != std::string::npos);
  }
  CHECK(seen[0] > 0);
  CHECK(seen[1] > 0);
  CHECK(seen[2] > 0);
}

TEST_CASE("events of tiers that are lost, or come late, are not seen") {
  const Workload load = prompts(ms(100));
  const auto with = [&](double loss, Duration delay) {
    Fleet f = fleet(4, 0.75);
    f.plan.router.event_loss = loss;
    f.plan.router.event_delay = delay;
    return hits(simulate(f.spec(), load));
  };
  const double exact = with(0, ms(0));
  const double blind = with(1, ms(0));
  INFO(exact << " exact, " << blind << " blind");
  CHECK(exact > blind + 0.1);
  CHECK(with(0, ms(10'000)) < exact - 0.1);
  CHECK(with(0, ms(4)) > blind + 0.1);
  // A block that is lost ends a run, but what is left of it still leads there.
  CHECK(with(0.1, ms(0)) > blind + 0.3);
}

TEST_CASE("a worker's tiers are forgotten when it crashes, shared ones are not") {
  for (const TierScope scope : {TierScope::worker, TierScope::shared}) {
    Fleet f = fleet(2, 1);
    f.plan.kv_tiers.host = tier(3000, scope);
    FaultSpec faults;
    FaultEvent fault;
    fault.kind = FaultKind::kv_loss;
    fault.at = ms(9'500);
    faults.schedule = {fault};
    fault.worker = 1;
    faults.schedule.push_back(fault);
    Explainer explainer(10);
    SimulationSpec spec = f.spec();
    spec.faults = &faults;
    spec.sink = &explainer;
    Workload load = prompts(ms(1000), 11);
    load.requests[10].first_block = load.requests[0].first_block;
    const SimulationResult run = simulate(spec, load);
    const Explanation found = explainer.result(at(ms(100'000)));
    REQUIRE(found.router_view);
    const std::int64_t kept = scope == TierScope::shared ? 2048 : 0;
    CHECK(found.router_view->device == 0);
    CHECK(found.router_view->tiers[0] == kept);
    CHECK(run.records[10].cached_tokens == std::min<std::int64_t>(kept, 2032));
  }
}

TEST_CASE(
    "whatever routers hear of tiers, step by step and fast-forward runs have the same figures") {
  const Workload load = prompts(ms(11), 120);
  for (const double loss : {0.0, 0.2}) {
    for (const Duration delay : {ms(0), ms(7)}) {
      Fleet f = fleet(3, 0.75, loss > 0 ? RouterCost::blocks : RouterCost::seconds);
      f.plan.kv_tiers.host = tier(400);
      f.plan.kv_tiers.object = tier(900, TierScope::shared);
      f.plan.router.object_credit = 0.5;
      f.plan.router.replicas = 2;
      f.plan.router.event_loss = loss;
      f.plan.router.event_delay = delay;
      SimulationSpec spec = f.spec();
      const SimulationResult fast = simulate(spec, load);
      CHECK(simulate(spec, load).fingerprint == fast.fingerprint);
      spec.stepping = engine::Stepping::every_step;
      CHECK(same_figures(fast, simulate(spec, load)));
    }
  }
}

}  // namespace
}  // namespace dyn::sim
