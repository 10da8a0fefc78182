#include <atomic>
#include <catch2/catch.hpp>

#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/perf/builtin_profiles.h"
#include "fleets.h"

namespace dyn::sim {
namespace {

using namespace test;

TEST_CASE("one request takes its prefill step and one step per further token") {
  Fleet fleet = aggregated(1, {.base = ms(2), .per_prefill = us(10), .frontend = ms(3)});
  const SimulationResult result = simulate(fleet.spec(), workload({{ms(5), 100, 4}}));
  REQUIRE(result.records.size() == 1);
  const RequestRecord& record = result.records[0];
  CHECK(record.status == RequestStatus::completed);
  CHECK(record.sent == at(ms(5)));
  CHECK(record.first_scheduled == at(ms(8)));
  CHECK(record.first_token == at(ms(8) + ms(3)));
  CHECK(record.second_token == at(ms(13)));
  CHECK(record.finished == at(ms(17)));
  CHECK(record.output_tokens == 4);
  CHECK(record.worker == 0);
  CHECK(record.prefill_worker == -1);
  CHECK(result.steps == 4);
  CHECK(mean_of(result.report, "time_to_first_token") == Approx(6));
  CHECK(mean_of(result.report, "inter_token_latency") == Approx(2));
  CHECK(mean_of(result.report, "request_latency") == Approx(12));
}

TEST_CASE("a disaggregated request waits, is computed, moved and decoded, by hand") {
  Fleet fleet = disaggregated(1, 1, {.base = ms(10), .per_prefill = us(100)}, {.base = ms(2)});
  fleet.plan.transfer = {BytesPerSec(1e9), ms(1), Bytes(10'000)};
  // The second waits for the first one's prefill and finds the first one decoding.
  fleet.plan.pools[0].config.max_num_seqs = 1;
  const SimulationResult result =
      simulate(fleet.spec(), workload({{ms(0), 100, 3}, {ms(1), 200, 2}}));
  const RequestRecord& first = result.records[0];
  CHECK(first.first_scheduled == at(ms(0)));
  CHECK(first.transfer == ms(2));                          // 1 ms + 100 * 10 kB / 1 GB/s
  CHECK(first.first_token == at(ms(20) + ms(2) + ms(2)));  // prefill, transfer, decode step
  CHECK(first.second_token == at(ms(26)));
  CHECK(first.finished == at(ms(28)));
  CHECK(first.prefill_worker == 0);
  CHECK(first.worker == 0);
  const RequestRecord& second = result.records[1];
  CHECK(second.first_scheduled == at(ms(20)));
  CHECK(second.transfer == ms(3));
  CHECK(second.first_token == at(ms(50) + ms(3) + ms(2)));
  CHECK(second.finished == at(ms(57)));
}

TEST_CASE("transfers of one worker wait for each other and the wait is counted") {
  Fleet fleet = disaggregated(2, 1, {.base = ms(10)}, {.base = ms(2)});
  fleet.plan.transfer = {BytesPerSec(1e9), Duration{0}, Bytes(50'000)};
  const SimulationResult result =
      simulate(fleet.spec(), workload({{ms(0), 100, 2}, {ms(0), 100, 2}}));
  CHECK(result.records[0].prefill_worker != result.records[1].prefill_worker);
  CHECK(result.records[0].transfer == ms(5));
  CHECK(result.records[1].transfer == ms(10));
}

TEST_CASE("a decode worker without room keeps the KV at the prefill worker until there is some") {
  Fleet fleet = disaggregated(1, 1, {.base = ms(10)}, {.base = ms(2)});
  fleet.plan.pools[1].config.kv_blocks = 10;  // 160 tokens
  const SimulationResult result =
      simulate(fleet.spec(), workload({{ms(0), 100, 20}, {ms(0), 100, 20}}));
  CHECK(result.records[0].finished <= result.records[1].first_token);
  CHECK(result.records[1].status == RequestStatus::completed);
}

TEST_CASE("a closed loop keeps its slots full until the requests run out") {
  Fleet fleet = aggregated(2, {.base = ms(1), .per_prefill = us(3), .per_decode = us(7)});
  std::vector<Ask> asks;
  for (int i = 0; i < 200; ++i) {
    asks.push_back({ms(0), 10 + i % 37, 1 + i % 23});
  }
  const SimulationResult result = simulate(fleet.spec(), workload(asks, 8));
  struct Change {
    SimTime time;
    int by;
  };
  std::vector<Change> changes;
  SimTime last_sent{};
  for (const RequestRecord& record : result.records) {
    changes.push_back({record.sent, 1});
    changes.push_back({record.finished, -1});
    last_sent = std::max(last_sent, record.sent);
  }
  std::stable_sort(changes.begin(), changes.end(),
                   [](const Change& a, const Change& b) { return a.time < b.time; });
  int open = 0;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    open += changes[i].by;
    const bool settled = i + 1 == changes.size() || changes[i + 1].time != changes[i].time;
    if (settled && changes[i].time < last_sent) {
      CHECK(open == 8);
    }
  }
  CHECK(result.records[7].sent == at(ms(0)));
  CHECK(result.records[8].sent > at(ms(0)));
}

TEST_CASE("a horizon ends the run and what still runs is unfinished") {
  Fleet fleet = aggregated(1, {.base = ms(10)});
  fleet.plan.pools[0].config.max_num_seqs = 1;
  const Workload load = workload({{ms(0), 10, 5}, {ms(5), 10, 5}, {ms(8), 10, 5}, {ms(500), 9, 1}});
  for (const engine::Stepping stepping :
       {engine::Stepping::fast_forward, engine::Stepping::every_step}) {
    SimulationSpec spec = fleet.spec();
    spec.stepping = stepping;
    spec.horizon = ms(75);
    const SimulationResult result = simulate(spec, load);
    REQUIRE(result.records.size() == 3);  // the last was never sent
    CHECK(result.records[0].status == RequestStatus::completed);
    CHECK(result.records[1].status == RequestStatus::unfinished);
    CHECK(result.records[1].first_token == at(ms(60)));
    CHECK(result.records[1].finished == SimTime::min());
    CHECK(result.records[2].status == RequestStatus::unfinished);
    CHECK(result.records[2].first_scheduled == SimTime::min());
    CHECK(result.engines[0].running == 1);
    CHECK(result.engines[0].waiting == 1);
    CHECK(result.engines[0].steps == 7);
  }
}

TEST_CASE("a horizon releases both legs of a transfer in progress") {
  // Conservation is asserted by simulate() itself, at whatever stage the requests are.
  Fleet fleet = disaggregated(1, 1, {.base = ms(10)}, {.base = ms(2)});
  fleet.plan.transfer = {BytesPerSec(1e9), ms(3), Bytes(50'000)};
  fleet.plan.pools[1].config.kv_blocks = 10;
  const Workload load = workload({{ms(0), 100, 9}, {ms(1), 100, 9}, {ms(2), 100, 9}});
  std::size_t unfinished = 0;
  for (int end = 0; end < 80; ++end) {
    SimulationSpec spec = fleet.spec();
    spec.horizon = ms(end);
    for (const RequestRecord& record : simulate(spec, load).records) {
      unfinished += record.status == RequestStatus::unfinished ? 1 : 0;
    }
  }
  CHECK(unfinished > 80);
}

TEST_CASE("a cancelled run returns what it has") {
  Fleet fleet = aggregated(1, {.base = ms(1)});
  std::atomic<bool> cancelled = true;
  SimulationSpec spec = fleet.spec();
  spec.cancelled = &cancelled;
  CHECK(simulate(spec, workload({{ms(0), 10, 5}})).records.empty());
}

TEST_CASE("a full pool refuses requests and a closed loop goes on") {
  Fleet fleet = aggregated(1, {.base = ms(1)});
  fleet.plan.router.max_queued_per_worker = 4;
  std::vector<Ask> asks(20, Ask{ms(0), 10, 3});
  const SimulationResult result = simulate(fleet.spec(), workload(asks, 10));
  REQUIRE(result.records.size() == 20);
  std::size_t rejected = 0;
  for (const RequestRecord& record : result.records) {
    rejected += record.status == RequestStatus::rejected ? 1 : 0;
    CHECK(record.finished >= record.sent);
  }
  CHECK(rejected > 0);
  CHECK(rejected < 20);
}

TEST_CASE("a request that no engine can run is named before anything is simulated") {
  Fleet fleet = aggregated(1, {.base = ms(1)});
  fleet.plan.pools[0].config.max_model_len = 1000;
  const auto run = [&] { simulate(fleet.spec(), workload({{ms(0), 10, 3}, {ms(1), 900, 101}})); };
  try {
    run();
    FAIL("not refused");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::infeasible);
    CHECK_THAT(error.what(), Catch::Matchers::Contains("request 2 of 900 prompt and 101 output"));
    CHECK_THAT(error.what(), Catch::Matchers::Contains("context"));
  }
  fleet.plan.pools[0].config.max_model_len = 200'000;
  fleet.plan.pools[0].config.kv_blocks = 20;
  CHECK_THROWS_WITH(run(), Catch::Matchers::Contains("KV cache"));
}

TEST_CASE("blocks that do not divide into the engine's are refused") {
  Fleet fleet = aggregated(1, {.base = ms(1)});
  fleet.plan.pools[0].config.block_size = 48;
  CHECK_THROWS_AS(simulate(fleet.spec(), workload({{ms(0), 10, 3}})), Error);
}

TEST_CASE("each attention-DP rank is an engine that the router sees") {
  Fleet fleet = aggregated(2, {.base = ms(1)});
  fleet.plan.pools[0].layout.data = 3;
  const std::vector<Ask> asks(12, Ask{ms(0), 10, 3});
  const SimulationResult result = simulate(fleet.spec(), workload(asks));
  REQUIRE(result.engines.size() == 6);
  for (const engine::EngineLoad& load : result.engines) {
    CHECK(load.steps == 3);
  }
}

TEST_CASE("a workload without requests is a run without events") {
  Fleet fleet = aggregated(1, {.base = ms(1)});
  const SimulationResult result = simulate(fleet.spec(), Workload{});
  CHECK(result.events == 0);
  CHECK(result.records.empty());
}

TEST_CASE("KV-aware routing beats round robin on a prefix-heavy load") {
  Traffic traffic;
  traffic.isl = Tokens(8000);
  traffic.osl = Tokens(50);
  traffic.rate = RequestsPerSec(7);
  traffic.requests = 800;
  traffic.shared_prefix = Tokens(6144);
  traffic.prefix_groups = 40;  // more than one worker's cache holds
  const Workload load = make_synthetic(traffic, 11);
  const auto run = [&](RouterKind router) {
    Fleet fleet =
        aggregated(4, {.base = ms(5), .per_prefill = us(40), .per_decode = us(50)}, router);
    fleet.plan.pools[0].config.kv_blocks = 8'000;
    return simulate(fleet.spec(), load);
  };
  const SimulationResult aware = run(RouterKind::kv_aware);
  const SimulationResult blind = run(RouterKind::round_robin);
  const auto cached = [](const SimulationResult& result) {
    std::int64_t sum = 0;
    for (const RequestRecord& record : result.records) {
      sum += record.cached_tokens;
    }
    return sum;
  };
  CHECK(2 * cached(aware) > 3 * cached(blind));
  CHECK(mean_of(aware.report, "time_to_first_token") <
        0.8 * mean_of(blind.report, "time_to_first_token"));
}

TEST_CASE("a run does not depend on whether its prompts were cut into segments") {
  Workload cut = make_conversation(1500, std::chrono::seconds(400), 2);
  for (WorkloadRequest& request : cut.requests) {
    // Whole blocks, since the router counts what prompts share in pieces of their segments.
    request.input_tokens = (request.input_tokens + 511) / 512 * 512;
  }
  Workload whole = cut;
  whole.segments.clear();
  for (WorkloadRequest& request : whole.requests) {
    request.segment_count = 0;
  }
  REQUIRE(cut.segments.size() < cut.blocks.size() / 4);
  for (const std::int64_t blocks : {4'000, 20'000}) {
    for (const RouterKind router : {RouterKind::round_robin, RouterKind::kv_aware}) {
      Fleet fleet =
          aggregated(3, {.base = ms(5), .per_prefill = us(40), .per_decode = us(50)}, router);
      fleet.plan.pools[0].config.kv_blocks = blocks;
      const SimulationResult one = simulate(fleet.spec(), cut);
      const SimulationResult other = simulate(fleet.spec(), whole);
      CHECK(one.fingerprint == other.fingerprint);
      CHECK(same_figures(one, other));
    }
  }
}

TEST_CASE("a plan is priced with its own model, device and layout") {
  Fleet fleet = aggregated(1, {});
  fleet.plan.model = find_model("Qwen/Qwen3-32B");
  fleet.plan.weights = Precision::fp8;
  fleet.plan.profile = perf::builtin_profile("h200");
  const Workload load = workload({{ms(0), 4000, 100}});
  const auto latency = [&](int tensor) {
    fleet.plan.pools[0].layout.tensor = tensor;
    fleet.timers = compile_timers(fleet.plan);
    REQUIRE(fleet.timers.size() == 1);
    return mean_of(simulate(fleet.spec(), load).report, "request_latency");
  };
  const double one = latency(1);
  CHECK(one > 500);  // 100 reads of 32 GB at 4.8 TB/s
  CHECK(one < 5000);
  CHECK(latency(4) < one);
}

}  // namespace
}  // namespace dyn::sim
