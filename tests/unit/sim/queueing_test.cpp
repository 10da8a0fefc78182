// Closed forms of queueing theory that a fleet with one slot must meet.
#include <algorithm>
#include <catch2/catch.hpp>

#include "dyn/core/random.h"
#include "fleets.h"

namespace dyn::sim {
namespace {

using namespace test;

constexpr Duration kStep = us(400);
constexpr double kMeanTokens = 50;  ///< 20 ms of service
constexpr int kRequests = 40'000;

/// Poisson arrivals at utilisation `rho` of one server, with service of `tokens()` steps.
template <class TokenCount>
Workload queue_load(double rho, TokenCount tokens) {
  RandomStream arrivals(5, "arrival");
  const double mean_gap = to_seconds(kStep) * kMeanTokens / rho;
  std::vector<Ask> asks;
  double now = 0;
  for (int i = 0; i < kRequests; ++i) {
    now += arrivals.exponential(mean_gap);
    asks.push_back({from_seconds(now), 1, tokens()});
  }
  return workload(asks);
}

Fleet one_server() {
  Fleet fleet = aggregated(1, {.base = kStep});
  fleet.plan.pools[0].config.max_num_seqs = 1;
  return fleet;
}

Workload exponential_load(double rho) {
  RandomStream service(6, "service");
  return queue_load(rho, [&] {
    return std::max<std::int64_t>(1, std::llround(service.exponential(kMeanTokens)));
  });
}

TEST_CASE("one server with exponential service waits as an M/M/1 queue") {
  for (const double rho : {0.3, 0.6, 0.8}) {
    const SimulationResult result = simulate(one_server().spec(), exponential_load(rho));
    const double service = to_millis(kStep) * kMeanTokens;
    CHECK(mean_of(result.report, "request_latency") == Approx(service / (1 - rho)).epsilon(0.07));
  }
}

TEST_CASE("one server with constant service waits as an M/D/1 queue") {
  for (const double rho : {0.3, 0.6, 0.8}) {
    const Workload load = queue_load(rho, [] { return static_cast<std::int64_t>(kMeanTokens); });
    const SimulationResult result = simulate(one_server().spec(), load);
    const double service = to_millis(kStep) * kMeanTokens;
    CHECK(mean_of(result.report, "request_latency") ==
          Approx(service * (1 + rho / (2 * (1 - rho)))).epsilon(0.05));
  }
}

TEST_CASE("requests in the system are arrival rate times time in the system (Little)") {
  const double rho = 0.7;
  Workload load = exponential_load(rho);
  const Fleet fleet = one_server();
  const SimulationResult whole = simulate(fleet.spec(), load);
  const Duration span = load.requests.back().arrival.time_since_epoch();
  const double rate = kRequests / to_seconds(span);
  CHECK(rate * mean_of(whole.report, "request_latency") / 1e3 ==
        Approx(rho / (1 - rho)).epsilon(0.07));
  // The server is busy for the share of time that the load asks for.
  CHECK(static_cast<double>(whole.steps) * to_seconds(kStep) / to_seconds(span) ==
        Approx(rho).epsilon(0.03));
  // At any instant the engine holds just the requests that are between send and last token.
  load.requests.resize(1500);
  const Duration part_span = load.requests.back().arrival.time_since_epoch();
  for (int i = 1; i <= 25; ++i) {
    SimulationSpec spec = fleet.spec();
    spec.horizon = part_span * i / 25;
    const SimulationResult part = simulate(spec, load);
    const auto inside =
        std::count_if(whole.records.begin(), whole.records.end(), [&](const RequestRecord& record) {
          return record.id < 1500 && record.sent <= at(*spec.horizon) &&
                 record.finished > at(*spec.horizon);
        });
    CHECK(part.engines[0].running + part.engines[0].waiting == inside);
  }
}

}  // namespace
}  // namespace dyn::sim
