#include <algorithm>
#include <catch2/catch.hpp>

#include "fleets.h"

namespace dyn::sim {
namespace {

using namespace test;

SimulationResult run(const Workload& load, int replicas = 1) {
  const Fleet fleet = aggregated(replicas, {});
  return simulate(fleet.spec(), load);
}

/// Sessions of `turns` requests each, in order.
Workload sessions(std::uint32_t count, std::uint32_t turns, Duration delay, int concurrency) {
  Workload out;
  out.concurrency = concurrency;
  for (std::uint32_t i = 0; i < count * turns; ++i) {
    WorkloadRequest request;
    request.input_tokens = 10;
    request.output_tokens = 5;
    out.requests.push_back(request);
    out.sessions.push_back(i / turns);
    if (i % turns > 0) {
      out.follow_ups.push_back({i - 1, i, delay});
    }
  }
  return out;
}

/// Most sessions between the send of their first request and the end of their last.
int most_at_once(const Workload& load, const std::vector<RequestRecord>& records) {
  struct Change {
    SimTime at;
    int by;
  };
  std::vector<Change> changes;
  std::vector<SimTime> begin(load.requests.size(), SimTime::max());
  std::vector<SimTime> end(load.requests.size(), SimTime::min());
  for (const RequestRecord& record : records) {
    begin[record.session] = std::min(begin[record.session], record.sent);
    end[record.session] = std::max(end[record.session], record.finished);
  }
  for (std::size_t i = 0; i < begin.size(); ++i) {
    if (end[i] != SimTime::min()) {
      changes.push_back({begin[i], 1});
      changes.push_back({end[i], -1});
    }
  }
  std::sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) {
    return a.at != b.at ? a.at < b.at : a.by < b.by;
  });
  int now = 0, most = 0;
  for (const Change& change : changes) {
    most = std::max(most, now += change.by);
  }
  return most;
}

TEST_CASE("a turn is sent when the one before has ended and was thought about") {
  const Workload load = sessions(3, 4, ms(70), 0);
  const SimulationResult result = run(load);
  REQUIRE(result.records.size() == 12);
  for (std::size_t i = 0; i < 12; ++i) {
    CHECK(result.records[i].status == RequestStatus::completed);
    CHECK(result.records[i].session == i / 4);
    if (i % 4 > 0) {
      CHECK(result.records[i].sent == result.records[i - 1].finished + ms(70));
    }
  }
}

TEST_CASE("a time without a request in flight is cut, and what comes later comes earlier") {
  // Steps of 1 ms: each request is there for 5 ms.
  Workload load = sessions(3, 2, ms(100), 0);
  load.requests[0].arrival = at(ms(50));
  load.requests[2].arrival = at(ms(60));
  load.requests[4].arrival = at(ms(1000));
  const auto sent = [&](std::optional<Duration> most) {
    load.max_idle = most;
    std::vector<Duration> out;
    for (const RequestRecord& record : run(load).records) {
      out.push_back(record.sent - SimTime{});
    }
    return out;
  };
  const std::vector<Duration> as_it_is = sent(std::nullopt);
  const Duration served = as_it_is[1] - ms(100) - ms(50);
  REQUIRE(served < ms(10));
  CHECK(sent(ms(5000)) == as_it_is);
  // The first comes after 20 ms, 30 ms early; then nothing lasts longer than that but the time
  // between the two first sessions' ends and the second's turn, and that before the third's.
  const std::vector<Duration> cut = sent(ms(20));
  CHECK(cut[0] == ms(20));
  CHECK(cut[2] == ms(30));
  const Duration end = ms(30) + served;
  CHECK(cut[1] == end + ms(20));
  CHECK(cut[3] == cut[1] + ms(10));  // as far behind it as ever
  CHECK(cut[4] == cut[3] + served + ms(20));
  CHECK(cut[5] == cut[4] + served + ms(20));
  CHECK(sent(ms(0))[0] == ms(0));
}

TEST_CASE("slots that all think wait no longer than a time without a request may last") {
  Workload load = sessions(4, 3, ms(100), 2);
  load.max_idle = ms(7);
  const SimulationResult result = run(load);
  for (std::size_t i = 1; i < 3; ++i) {
    CHECK(result.records[i].sent == result.records[i - 1].finished + ms(7));
  }
}

TEST_CASE("a request that waits for two is sent after the later one") {
  Workload load = sessions(1, 3, ms(10), 0);
  load.requests[1].output_tokens = 50;
  load.follow_ups = {{0, 1, ms(10)}, {0, 2, ms(10)}};
  const WorkloadRequest last = load.requests[0];
  load.requests.push_back(last);
  load.sessions.push_back(0);
  load.follow_ups.push_back({1, 3, ms(1)});
  load.follow_ups.push_back({2, 3, ms(500)});
  const SimulationResult result = run(load);
  CHECK(result.records[3].sent ==
        std::max(result.records[1].finished + ms(1), result.records[2].finished + ms(500)));
}

TEST_CASE("a later turn does not come before its own arrival in an open loop") {
  Workload load = sessions(1, 2, ms(1), 0);
  load.requests[1].arrival = at(ms(5000));
  CHECK(run(load).records[1].sent == at(ms(5000)));
  load.concurrency = 1;
  CHECK(run(load).records[1].sent < at(ms(5000)));
}

TEST_CASE("a slot plays one session at a time") {
  for (const int slots : {1, 2, 5, 40}) {
    const Workload load = sessions(20, 3, ms(7), slots);
    const SimulationResult result = run(load);
    CHECK(result.records.size() == 60);
    CHECK(most_at_once(load, result.records) == std::min(slots, 20));
  }
}

TEST_CASE("what follows a refused request is sent all the same") {
  Workload load = sessions(8, 2, ms(0), 0);
  Fleet fleet = aggregated(1, {});
  fleet.plan.router.max_queued_per_worker = 1;
  fleet.plan.pools[0].config.max_num_seqs = 1;
  const SimulationResult result = simulate(fleet.spec(), load);
  CHECK(result.records.size() == 16);
  const auto refused =
      std::count_if(result.records.begin(), result.records.end(),
                    [](const RequestRecord& r) { return r.status == RequestStatus::rejected; });
  CHECK(refused > 0);
}

TEST_CASE("the run begins when the warm-up has ended, with all slots at once") {
  Workload load = workload(std::vector<Ask>(30, {Duration{0}, 50, 20}), 4);
  load.warmup = 6;
  load.requests[5].output_tokens = 200;
  const SimulationResult result = run(load);
  SimTime warm{};
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(result.records[i].warmup);
    warm = std::max(warm, result.records[i].finished);
  }
  for (std::size_t i = 6; i < 10; ++i) {
    CHECK(!result.records[i].warmup);
    CHECK(result.records[i].sent == warm);
  }
  CHECK(result.records[10].sent > warm);
  CHECK(mean_of(result.report, "request_count") == 24);
  CHECK(mean_of(result.report, "benchmark_duration") ==
        Approx(to_seconds(result.records.back().finished - warm)));
}

TEST_CASE("requests that a horizon leaves unsent have no record") {
  const Workload load = sessions(4, 5, ms(100), 0);
  const Fleet fleet = aggregated(1, {});
  SimulationSpec spec = fleet.spec();
  spec.horizon = ms(250);
  const SimulationResult result = simulate(spec, load);
  CHECK(result.records.size() > 4);
  CHECK(result.records.size() < 20);
  for (std::size_t i = 1; i < result.records.size(); ++i) {
    CHECK(result.records[i - 1].id < result.records[i].id);
  }
}

}  // namespace
}  // namespace dyn::sim
