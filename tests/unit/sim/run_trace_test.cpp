#include "dyn/sim/run_trace.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "fleets.h"

namespace dyn::sim {
namespace {

using namespace test;
using Json = nlohmann::json;

Workload busy_load() {
  std::vector<Ask> asks;
  for (int i = 0; i < 60; ++i) {
    asks.push_back({ms(3 * i), 200 + 13 * i, 20 + 9 * (i % 20)});
  }
  return workload(asks);
}

Fleet crowded(bool split) {
  LinearTimer::Times times;
  times.per_prefill = us(20);
  times.frontend = us(500);
  Fleet fleet = split ? disaggregated(1, 2, times, times) : aggregated(2, times);
  fleet.plan.transfer = {BytesPerSec(1e9), us(100), Bytes(2000)};
  for (PoolSpec& pool : fleet.plan.pools) {
    pool.config.kv_blocks = 100;  // requests are preempted
    pool.config.max_num_seqs = 16;
  }
  return fleet;
}

Explanation explained(const Fleet& fleet, const Workload& load, std::uint32_t request,
                      SimulationResult& result) {
  Explainer explainer(request);
  SimulationSpec spec = fleet.spec();
  spec.sink = &explainer;
  result = simulate(spec, load);
  return explainer.result(SimTime(std::chrono::hours(1)));
}

TEST_CASE("where a request's time went adds up to its latency") {
  const Workload load = busy_load();
  std::size_t preemptions = 0;
  for (const bool split : {false, true}) {
    const Fleet fleet = crowded(split);
    for (std::uint32_t request = 0; request < 60; request += 7) {
      SimulationResult result;
      const Explanation found = explained(fleet, load, request, result);
      const RequestRecord& record = result.records[request];
      INFO(to_text(found));
      REQUIRE(found.found);
      CHECK(found.completed);
      CHECK(std::accumulate(found.phases.begin(), found.phases.end(), Duration{0}) ==
            record.finished - record.sent);
      using Phase = Explanation::Phase;
      const auto phase = [&](Phase p) { return found.phases[static_cast<std::size_t>(p)]; };
      CHECK(phase(Phase::frontend) == us(500));
      CHECK(record.sent + phase(Phase::frontend) + phase(Phase::router_queue) +
                phase(Phase::engine_queue) ==
            record.first_scheduled);
      CHECK(phase(Phase::decode) == record.finished - record.first_token);
      CHECK(phase(Phase::transfer) == record.transfer);
      CHECK(found.preemptions.size() == static_cast<std::size_t>(record.preemptions));
      CHECK(found.cached_tokens == record.cached_tokens);
      CHECK(found.output_tokens == record.output_tokens);
      for (const RequestRecord& any : result.records) {
        preemptions += static_cast<std::size_t>(any.preemptions);
      }
      const Json json = Json::parse(to_json(found));
      std::int64_t sum = 0;
      for (const Json& nanos : json.at("phases_ns")) {
        sum += nanos.get<std::int64_t>();
      }
      CHECK(sum == json.at("request_latency_ns").get<std::int64_t>());
    }
  }
  CHECK(preemptions > 0);
}

TEST_CASE("a request that did not end is explained up to the end of the run") {
  const Workload load = busy_load();
  const Fleet fleet = crowded(false);
  Explainer explainer(50);
  SimulationSpec spec = fleet.spec();
  spec.sink = &explainer;
  spec.horizon = ms(160);
  simulate(spec, load);
  const Explanation found = explainer.result(at(ms(160)));
  CHECK(found.found);
  CHECK(!found.completed);
  CHECK(found.total() == ms(10));
  CHECK(std::accumulate(found.phases.begin(), found.phases.end(), Duration{0}) == ms(10));
  CHECK(!Explainer(7).result(at(ms(1))).found);
}

TEST_CASE("a run's trace is JSON whose steps do not overlap and whose requests end") {
  const Workload load = busy_load();
  for (const bool split : {false, true}) {
    const Fleet fleet = crowded(split);
    PerfettoTrace trace(fleet.plan);
    SimulationSpec spec = fleet.spec();
    spec.stepping = engine::Stepping::every_step;
    const SimulationResult without = simulate(spec, load);
    spec.sink = &trace;
    const SimulationResult with = simulate(spec, load);
    CHECK(same_figures(with, without));
    CHECK(with.fingerprint == without.fingerprint);
    const Json json = Json::parse(trace.take());
    std::map<std::pair<int, int>, double> ends;
    std::map<int, int> open;
    std::uint64_t steps = 0;
    for (const Json& event : json.at("traceEvents")) {
      const std::string kind = event.at("ph");
      if (kind == "X") {
        double& end = ends[{event.at("pid"), event.at("tid")}];
        CHECK(event.at("ts").get<double>() >= end - 0.002);
        end = event.at("ts").get<double>() + event.at("dur").get<double>();
        ++steps;
      } else if (kind == "b") {
        ++open[event.at("id").get<int>()];
      } else if (kind == "e") {
        --open[event.at("id").get<int>()];
      }
    }
    CHECK(steps == with.steps);
    CHECK(open.size() == 60);
    for (const auto& [request, count] : open) {
      CHECK(count == 0);
    }
  }
}

TEST_CASE("a trace keeps no more events than it may and says how many it left out") {
  const Fleet fleet = crowded(false);
  PerfettoTrace trace(fleet.plan, 50);
  SimulationSpec spec = fleet.spec();
  spec.sink = &trace;
  simulate(spec, busy_load());
  const std::size_t left_out = trace.left_out();
  const Json json = Json::parse(trace.take());
  CHECK(json.at("traceEvents").size() == 50);
  CHECK(json.at("otherData").at("left_out") == left_out);
  CHECK(left_out > 0);
}

TEST_CASE("the timeline is bounded, changes nothing and has all tokens") {
  const Workload load = busy_load();
  for (const bool split : {false, true}) {
    const Fleet fleet = crowded(split);
    SimulationSpec spec = fleet.spec();
    const SimulationResult without = simulate(spec, load);
    spec.timeline_points = 8;
    const SimulationResult with = simulate(spec, load);
    CHECK(same_figures(with, without));
    CHECK(with.fingerprint == without.fingerprint);
    spec.stepping = engine::Stepping::every_step;
    CHECK(to_json(simulate(spec, load).timeline) == to_json(with.timeline));
    const Timeline& timeline = with.timeline;
    REQUIRE(timeline.points.size() == fleet.plan.pools.size());
    double made = 0, computed = 0;
    int busiest = 0;
    for (const std::vector<TimelinePoint>& points : timeline.points) {
      CHECK(points.size() <= 8);
      CHECK(points.size() >= 4);
      for (const TimelinePoint& point : points) {
        made += point.output_tokens * to_seconds(timeline.interval);
        computed += point.prompt_tokens * to_seconds(timeline.interval);
        busiest = std::max(busiest, point.running);
        CHECK(point.kv_use <= 1);
      }
    }
    CHECK(made == Approx(mean_of(with.report, "total_osl")));
    CHECK(computed > 0);
    CHECK(busiest > 0);
    CHECK(Json::parse(to_json(timeline)).at("pools").size() == fleet.plan.pools.size());
  }
}

TEST_CASE("energy lies between that of idle and of busy GPUs and has an interval") {
  Fleet fleet = aggregated(2, {});
  fleet.plan.profile.device.power = Watts(700);
  const Workload load = workload({{ms(0), 100, 200}, {ms(0), 100, 200}, {ms(4000), 100, 1}});
  const SimulationResult result = simulate(fleet.spec(), load);
  REQUIRE(result.report.energy);
  const Estimate energy = *result.report.energy;
  CHECK(energy.low < energy.value);
  CHECK(energy.value < energy.high);
  // Each worker is busy for 200 steps of a ms with one sequence, and the first for one more.
  const double busy = 0.401;
  const double all = 2 * to_seconds(result.records[2].finished - result.records[0].sent);
  CHECK(energy.value == Approx(busy * 300 + (all - busy) * 0.14 * 700).epsilon(0.001));
  Report report = result.report;
  add_costs(report, 2, DollarsPerHour(3));
  CHECK(mean_of(report, "gpu_power") == Approx(energy.value / all));
  CHECK(report.find("gpu_energy")->interval);
  CHECK(mean_of(report, "cost_per_million_tokens") <
        mean_of(report, "cost_per_million_output_tokens"));
  fleet.plan.profile.device.power = Watts(0);
  CHECK(!simulate(fleet.spec(), load).report.energy);
}

}  // namespace
}  // namespace dyn::sim
