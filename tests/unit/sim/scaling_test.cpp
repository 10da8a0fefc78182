// Autoscaler, router queues and what routers know, in the loop.
#include <catch2/catch.hpp>

#include "fleets.h"

namespace dyn::sim {
namespace {

using namespace test;
using namespace std::chrono_literals;

std::vector<Ask> every(Duration gap, int count, std::int64_t input, std::int64_t output) {
  std::vector<Ask> asks;
  for (int i = 0; i < count; ++i) {
    asks.push_back({gap * i, input, output});
  }
  return asks;
}

/// Prompts of 1000 tokens take 100 ms; each worker serves 10 a second.
Fleet scaled(AutoscalerKind kind) {
  Fleet fleet = aggregated(1, {.base = ms(10), .per_prefill = us(90)}, RouterKind::least_loaded);
  fleet.plan.pools[0].config.max_num_batched_tokens = 1000;
  fleet.plan.autoscaler.kind = kind;
  fleet.plan.autoscaler.interval = 1s;
  fleet.plan.autoscaler.startup = 2s;
  fleet.plan.autoscaler.down_cooldown = 5s;
  fleet.plan.autoscaler.weights = WeightSource::warm;
  return fleet;
}

TEST_CASE("a pool under too much load grows until it keeps up, and shrinks when it is over") {
  Fleet fleet = scaled(AutoscalerKind::load);
  std::vector<Ask> asks = every(ms(40), 500, 1000, 2);  // 25 a second for 20 s
  for (int i = 0; i < 100; ++i) {
    asks.push_back({20s + ms(500) * i, 1000, 2});
  }
  const SimulationResult result = simulate(fleet.spec(), workload(asks));
  const PoolHistory& pool = result.fleet.pools[0];
  CHECK(pool.most_workers >= 3);
  CHECK(pool.growths >= 1);
  CHECK(pool.shrinkings >= 2);
  CHECK(pool.direction_changes >= 1);
  for (const RequestRecord& record : result.records) {
    CHECK(record.status == RequestStatus::completed);  // those that drain lose nobody
  }
  // Late requests do not wait.
  CHECK(result.records[499].first_token - result.records[499].sent < ms(500));
  CHECK(result.fleet.replicas.back().ready <= 2);
  CHECK(mean_of(result.report, "gpu_hours") == Approx(pool.gpu_hours));
  CHECK(mean_of(result.report, "scaling_direction_changes") == pool.direction_changes);
}

TEST_CASE("a new worker serves once its weights have come and it has started up") {
  Fleet fleet = scaled(AutoscalerKind::load);
  fleet.plan.model.layers = 1;
  fleet.plan.model.hidden = 1000;
  fleet.plan.model.vocabulary = 1'000'000;
  const double bytes = static_cast<double>(fleet.plan.model.parameters()) *
                       fleet.plan.model.bytes_per_weight(fleet.plan.weights);
  fleet.plan.autoscaler.weights = WeightSource::store;
  fleet.plan.autoscaler.max_replicas = 2;
  fleet.plan.network.inter_node = BytesPerSec(bytes / 3);  // three seconds
  fleet.plan.network.store = BytesPerSec(0);
  fleet.plan.network.store_latency = Duration{0};
  const SimulationResult result = simulate(fleet.spec(), workload(every(ms(40), 300, 1000, 2)));
  REQUIRE(result.fleet.replicas.size() >= 3);
  CHECK(result.fleet.replicas[1].starting == 1);
  const SimTime decided = result.fleet.replicas[1].at;
  const auto ready = std::find_if(result.fleet.replicas.begin(), result.fleet.replicas.end(),
                                  [](const ReplicaCount& count) { return count.ready == 2; });
  REQUIRE(ready != result.fleet.replicas.end());
  CHECK(to_seconds(ready->at - decided) == Approx(5));
  // It is paid for from the decision on.
  const SimTime end = std::max_element(result.records.begin(), result.records.end(),
                                       [](const RequestRecord& a, const RequestRecord& b) {
                                         return a.finished < b.finished;
                                       })
                          ->finished;
  CHECK(result.fleet.pools[0].gpu_hours * 3600 ==
        Approx(to_seconds(end.time_since_epoch()) + to_seconds(end - decided)).epsilon(0.01));
}

TEST_CASE("a forecast has workers ready before the load is there") {
  const auto run = [](AutoscalerKind kind) {
    Fleet fleet = scaled(kind);
    fleet.plan.autoscaler.startup = 6s;
    fleet.plan.autoscaler.itl = ms(200);
    std::vector<Ask> asks;
    double now = 0;
    while (now < 60) {  // from 2 to 50 requests a second in a minute
      asks.push_back({from_seconds(now), 1000, 2});
      now += 1 / (2 + 0.8 * now);
    }
    return mean_of(simulate(fleet.spec(), workload(asks)).report, "time_to_first_token");
  };
  CHECK(run(AutoscalerKind::forecast) < 0.7 * run(AutoscalerKind::load));
}

TEST_CASE("no more GPUs are used than the budget has") {
  Fleet fleet = scaled(AutoscalerKind::load);
  fleet.plan.pools[0].layout.tensor = 2;
  fleet.plan.autoscaler.max_gpus = 5;
  const SimulationResult result = simulate(fleet.spec(), workload(every(ms(20), 500, 1000, 2)));
  CHECK(result.fleet.pools[0].most_workers == 2);
}

TEST_CASE("fast-forward and step-by-step runs scale alike") {
  Fleet fleet = scaled(AutoscalerKind::load);
  SimulationSpec spec = fleet.spec();
  const Workload load = workload(every(ms(45), 300, 1000, 30));
  const SimulationResult fast = simulate(spec, load);
  spec.stepping = engine::Stepping::every_step;
  const SimulationResult slow = simulate(spec, load);
  CHECK(same_figures(fast, slow));
  CHECK(to_json(fast.fleet) == to_json(slow.fleet));
}

TEST_CASE(
    "a router holds requests while workers are busy, and refuses those that it held too long") {
  Fleet fleet = aggregated(1, {.base = ms(10)});
  fleet.plan.pools[0].config.max_num_seqs = 1;
  fleet.plan.router.hold_above = 0;
  fleet.plan.router.queue_timeout = ms(45);
  const SimulationResult result = simulate(
      fleet.spec(), workload({{ms(0), 10, 2}, {ms(1), 10, 2}, {ms(2), 10, 2}, {ms(3), 10, 2}}));
  CHECK(result.fleet.held == 3);
  CHECK(result.records[0].finished == at(ms(20)));
  CHECK(result.records[1].finished == at(ms(40)));
  CHECK(result.records[2].status == RequestStatus::completed);
  CHECK(result.records[3].status == RequestStatus::rejected);
  CHECK(result.records[3].finished == at(ms(48)));
}

TEST_CASE("routers that do not talk load workers unevenly, those that do hardly so") {
  const auto spread_of = [](std::optional<Duration> sync) {
    Fleet fleet = aggregated(8, {.base = ms(10)}, RouterKind::least_loaded);
    fleet.plan.router.replicas = 4;
    fleet.plan.router.sync_delay = sync;
    const SimulationResult result = simulate(fleet.spec(), workload(every(ms(5), 800, 10, 20)));
    std::vector<int> open(8, 0);
    std::vector<std::tuple<SimTime, int, int>> changes;
    for (const RequestRecord& record : result.records) {
      changes.emplace_back(record.sent, 1, record.worker);
      changes.emplace_back(record.finished, -1, record.worker);
    }
    std::sort(changes.begin(), changes.end());
    double most = 0;
    for (const auto& [time, by, worker] : changes) {
      open[static_cast<std::size_t>(worker)] += by;
      most += *std::max_element(open.begin(), open.end());
    }
    return most / static_cast<double>(changes.size());
  };
  CHECK(spread_of(ms(1)) < spread_of(std::nullopt) - 0.5);
}

TEST_CASE("the older or the fewer a router's cache events, the fewer hits") {
  Traffic traffic;
  traffic.isl = Tokens(4000);
  traffic.osl = Tokens(20);
  traffic.rate = RequestsPerSec(12);
  traffic.requests = 500;
  traffic.shared_prefix = Tokens(3072);
  traffic.prefix_groups = 30;
  const Workload load = make_synthetic(traffic, 3);
  const auto hits = [&](Duration delay, double loss, CacheView view) {
    Fleet fleet = aggregated(4, {.base = ms(5), .per_prefill = us(20)}, RouterKind::kv_aware);
    fleet.plan.pools[0].config.kv_blocks = 3'000;
    fleet.plan.router.event_delay = delay;
    fleet.plan.router.event_loss = loss;
    fleet.plan.router.cache_view = view;
    fleet.plan.router.approximate_blocks = 3'000;
    return mean_of(simulate(fleet.spec(), load).report, "prefix_cache_hit_rate");
  };
  const double exact = hits(0s, 0, CacheView::events);
  CHECK(hits(60s, 0, CacheView::events) < exact - 0.05);
  CHECK(hits(0s, 0.9, CacheView::events) < exact - 0.02);
  CHECK(hits(0s, 0, CacheView::approximate) > exact - 0.1);
}

}  // namespace
}  // namespace dyn::sim
