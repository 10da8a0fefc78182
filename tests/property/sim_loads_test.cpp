// Random sessions, mixes and arrivals: whatever the client sends, it sends in order and in time.
#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "../unit/sim/fleets.h"
#include "dyn/core/random.h"

namespace dyn::sim {
namespace {

using namespace test;

Fleet draw_fleet(RandomStream& random) {
  LinearTimer::Times times;
  times.base = us(100 * (1 + static_cast<std::int64_t>(random.below(5))));
  times.per_prefill = us(static_cast<std::int64_t>(random.below(3)));
  times.frontend = us(static_cast<std::int64_t>(random.below(2)) * 300);
  Fleet fleet = random.below(2) == 0
                    ? aggregated(1 + static_cast<int>(random.below(3)), times)
                    : disaggregated(1, 1 + static_cast<int>(random.below(2)), times, times);
  fleet.plan.transfer = {BytesPerSec(1e9), us(100), Bytes(1000)};
  for (PoolSpec& pool : fleet.plan.pools) {
    pool.config.kv_blocks = 200 + static_cast<std::int64_t>(random.below(200));
    pool.config.max_num_seqs = 1 + static_cast<int>(random.below(20));
  }
  return fleet;
}

/// A forest: each request that is not a first one follows one or two before it in its session.
Workload draw_load(RandomStream& random) {
  Workload out;
  out.concurrency = random.below(2) == 0 ? 0 : 1 + static_cast<std::int32_t>(random.below(12));
  const std::uint64_t sessions = 1 + random.below(30);
  std::int64_t now = 0;
  for (std::uint32_t session = 0; session < sessions; ++session) {
    const auto first = static_cast<std::uint32_t>(out.requests.size());
    const std::uint64_t turns = 1 + random.below(5);
    now += static_cast<std::int64_t>(random.below(20)) * 100;
    for (std::uint32_t turn = 0; turn < turns; ++turn) {
      WorkloadRequest request;
      request.arrival = turn == 0 ? SimTime(us(now)) : SimTime{};
      request.input_tokens = 1 + static_cast<std::int64_t>(random.below(500));
      request.output_tokens = 1 + static_cast<std::int64_t>(random.below(60));
      const std::uint32_t number = first + turn;
      for (std::uint64_t i = 0; turn > 0 && i <= random.below(2); ++i) {
        const auto before = first + static_cast<std::uint32_t>(random.below(turn));
        out.follow_ups.push_back(
            {before, number, us(static_cast<std::int64_t>(random.below(4)) * 500)});
      }
      out.requests.push_back(request);
      out.sessions.push_back(session);
    }
  }
  std::stable_sort(out.follow_ups.begin(), out.follow_ups.end(),
                   [](const FollowUp& a, const FollowUp& b) { return a.before < b.before; });
  return out;
}

/// Sessions that are open at once, at most; and their time-average over the run.
struct Occupancy {
  std::int64_t most = 0;
  double mean = 0;
};

Occupancy occupancy(std::vector<std::pair<SimTime, SimTime>> spans) {
  std::vector<std::pair<SimTime, int>> changes;
  SimTime begin = SimTime::max(), end = SimTime::min();
  double sum = 0;
  for (const auto& [from, to] : spans) {
    changes.emplace_back(from, 1);
    changes.emplace_back(to, -1);
    begin = std::min(begin, from);
    end = std::max(end, to);
    sum += to_seconds(to - from);
  }
  std::sort(changes.begin(), changes.end());
  Occupancy out;
  std::int64_t open = 0;
  for (const auto& [at, by] : changes) {
    open += by;
    out.most = std::max(out.most, open);
  }
  out.mean = end > begin ? sum / to_seconds(end - begin) : 0;
  return out;
}

TEST_CASE("every request of a session is sent once all that it waits for have ended") {
  REQUIRE(rc::check("sessions keep their order and slots their number", [](std::uint64_t seed) {
    RandomStream random(seed, "sessions");
    const Fleet fleet = draw_fleet(random);
    const Workload load = draw_load(random);
    const SimulationResult result = simulate(fleet.spec(), load);
    RC_ASSERT(result.records.size() == load.requests.size());
    std::vector<bool> follows(load.requests.size(), false);
    std::vector<SimTime> due(load.requests.size(), SimTime::min());
    for (const FollowUp& follow : load.follow_ups) {
      follows[follow.after] = true;
      due[follow.after] =
          std::max(due[follow.after], result.records[follow.before].finished + follow.delay);
    }
    std::vector<std::pair<SimTime, SimTime>> spans(load.sessions.back() + 1,
                                                   {SimTime::max(), SimTime::min()});
    for (std::size_t i = 0; i < result.records.size(); ++i) {
      const RequestRecord& record = result.records[i];
      RC_ASSERT(record.status == RequestStatus::completed);
      if (follows[i]) {
        RC_ASSERT(record.sent == due[i]);
      } else if (load.concurrency == 0) {
        RC_ASSERT(record.sent == load.requests[i].arrival);
      }
      auto& [from, to] = spans[record.session];
      from = std::min(from, record.sent);
      to = std::max(to, record.finished);
    }
    if (load.concurrency > 0) {
      RC_ASSERT(occupancy(spans).most <= load.concurrency);
    }
    SimulationSpec stepwise = fleet.spec();
    stepwise.stepping = engine::Stepping::every_step;
    RC_ASSERT(same_figures(simulate(stepwise, load), result));
  }));
}

TEST_CASE("no time without a request in flight is longer than it may be") {
  REQUIRE(rc::check("what is due comes earlier, in the order it had", [](std::uint64_t seed) {
    RandomStream random(seed, "idle");
    const Fleet fleet = draw_fleet(random);
    Workload load = draw_load(random);
    load.max_idle = us(static_cast<std::int64_t>(random.below(6)) * 100);
    const SimulationResult result = simulate(fleet.spec(), load);
    std::vector<std::pair<SimTime, SimTime>> spans;
    std::vector<SimTime> due(load.requests.size(), SimTime::min());
    for (const FollowUp& follow : load.follow_ups) {
      due[follow.after] =
          std::max(due[follow.after], result.records[follow.before].finished + follow.delay);
    }
    Duration cut{0};  // so far, of those that follow no other
    for (std::size_t i = 0; i < result.records.size(); ++i) {
      const RequestRecord& record = result.records[i];
      spans.emplace_back(record.sent, record.finished);
      if (due[i] != SimTime::min()) {
        RC_ASSERT(record.sent <= due[i]);
      } else if (load.concurrency == 0) {
        RC_ASSERT(load.requests[i].arrival - record.sent >= cut);
        cut = load.requests[i].arrival - record.sent;
      }
    }
    for (const FollowUp& follow : load.follow_ups) {
      RC_ASSERT(result.records[follow.after].sent >= result.records[follow.before].finished);
    }
    std::sort(spans.begin(), spans.end());
    SimTime busy_until{};
    for (const auto& [from, to] : spans) {
      RC_ASSERT(from - busy_until <= *load.max_idle);
      busy_until = std::max(busy_until, to);
    }
    SimulationSpec stepwise = fleet.spec();
    stepwise.stepping = engine::Stepping::every_step;
    RC_ASSERT(same_figures(simulate(stepwise, load), result));
  }));
}

TEST_CASE("Little's law holds for every load") {
  REQUIRE(rc::check("requests in the system = throughput x latency", [](std::uint64_t seed) {
    RandomStream random(seed, "little");
    const Fleet fleet = draw_fleet(random);
    const Workload load = draw_load(random);
    const SimulationResult result = simulate(fleet.spec(), load);
    std::vector<std::pair<SimTime, SimTime>> spans;
    for (const RequestRecord& record : result.records) {
      spans.emplace_back(record.sent, record.finished);
    }
    const double inside = occupancy(std::move(spans)).mean;
    const double expected = mean_of(result.report, "request_throughput") *
                            mean_of(result.report, "request_latency") / 1e3;
    RC_ASSERT(std::abs(inside - expected) <= 1e-6 * expected);
  }));
}

TEST_CASE("synthetic loads of every kind run to their end") {
  REQUIRE(
      rc::check("nothing is lost in mixes, turns, warm-ups and profiles", [](std::uint64_t seed) {
        RandomStream random(seed, "synthetic");
        const Fleet fleet = draw_fleet(random);
        Traffic traffic;
        traffic.requests = 1 + static_cast<std::int64_t>(random.below(80));
        if (random.below(2) == 0) {
          traffic.concurrency = 1 + static_cast<int>(random.below(6));
          traffic.warmup_per_slot = static_cast<int>(random.below(3));
        } else {
          traffic.rate = RequestsPerSec(100);
          traffic.arrivals = static_cast<ArrivalProcess>(random.below(3));
          traffic.profile = static_cast<RateProfile>(random.below(4));
          traffic.period = ms(200);
        }
        for (const char* name : {"a", "b"}) {
          TrafficClass one;
          one.name = name;
          one.isl = Tokens(1 + static_cast<std::int64_t>(random.below(120)));
          one.osl = Tokens(1 + static_cast<std::int64_t>(random.below(20)));
          one.lengths = static_cast<LengthDistribution>(random.below(5));
          one.length_spread = 0.3;
          one.turns = 1 + static_cast<int>(random.below(4));
          one.turn_count = static_cast<TurnCount>(random.below(2));
          one.turn_isl = Tokens(3);
          one.think_time = ms(static_cast<std::int64_t>(random.below(5)));
          traffic.classes.push_back(one);
        }
        const Workload load = make_synthetic(traffic, seed);
        const auto longest = std::max_element(
            load.requests.begin(), load.requests.end(),
            [](const auto& a, const auto& b) { return a.input_tokens < b.input_tokens; });
        RC_PRE(longest->input_tokens < 2500);
        const SimulationResult result = simulate(fleet.spec(), load);
        RC_ASSERT(result.records.size() == load.requests.size());
        const double counted = static_cast<double>(load.requests.size() - load.warmup);
        RC_ASSERT(mean_of(result.report, "request_count") == counted);
        double of_classes = 0;
        for (const ClassReport& one : result.report.classes) {
          for (const Metric& metric : one.metrics) {
            of_classes += metric.tag == "request_count" ? metric.avg : 0;
          }
        }
        RC_ASSERT(of_classes == counted);
      }));
}

}  // namespace
}  // namespace dyn::sim
