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
constexpr int kManyRequests = 120'000;  ///< where the mean wait varies most

/// Poisson arrivals at utilisation `rho` of one server, with service of `tokens()` steps.
template <class TokenCount>
Workload queue_load(double rho, TokenCount tokens, int requests = kRequests) {
  RandomStream arrivals(5, "arrival");
  const double mean_gap = to_seconds(kStep) * kMeanTokens / rho;
  std::vector<Ask> asks;
  double now = 0;
  for (int i = 0; i < requests; ++i) {
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

Workload exponential_load(double rho, int requests = kRequests) {
  RandomStream service(6, "service");
  return queue_load(
      rho,
      [&] { return std::max<std::int64_t>(1, std::llround(service.exponential(kMeanTokens))); },
      requests);
}

TEST_CASE("one server with exponential service waits as an M/M/1 queue") {
  for (const double rho : {0.3, 0.6, 0.8}) {
    const SimulationResult result =
        simulate(one_server().spec(), exponential_load(rho, kManyRequests));
    const double service = to_millis(kStep) * kMeanTokens;
    CHECK(mean_of(result.report, "request_latency") == Approx(service / (1 - rho)).epsilon(0.05));
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

/// Mean wait of an M/M/c queue (Erlang C), for a mean service time.
double erlang_wait(int servers, double rho, double service) {
  const double load = servers * rho;
  double term = 1;  // load^k / k!
  double sum = 0;
  for (int k = 0; k < servers; ++k) {
    sum += term;
    term *= load / (k + 1);
  }
  const double waits = term / (1 - rho) / (sum + term / (1 - rho));
  return waits * service / (servers * (1 - rho));
}

/// An engine whose steps take as long whatever is in them serves max_num_seqs requests at a time
/// from one queue.
Fleet servers(int count) {
  Fleet fleet = aggregated(1, {.base = kStep});
  fleet.plan.pools[0].config.max_num_seqs = count;
  return fleet;
}

TEST_CASE("a batch of constant step time with exponential service waits as an M/M/c queue") {
  constexpr int kServers = 4;
  for (const double rho : {0.5, 0.8}) {
    const SimulationResult result =
        simulate(servers(kServers).spec(), exponential_load(kServers * rho, kManyRequests));
    const double service = to_millis(kStep) * kMeanTokens;
    CHECK(mean_of(result.report, "request_latency") ==
          Approx(service + erlang_wait(kServers, rho, service)).epsilon(0.05));
  }
}

TEST_CASE("with other service it waits as an M/G/c queue, (1 + cv^2) / 2 times as long") {
  constexpr int kServers = 4;
  constexpr double kRho = 0.8;
  const double service = to_millis(kStep) * kMeanTokens;
  const double wait = erlang_wait(kServers, kRho, service);
  const auto latency = [&](const Workload& load) {
    return mean_of(simulate(servers(kServers).spec(), load).report, "request_latency");
  };
  const Workload constant =
      queue_load(kServers * kRho, [] { return static_cast<std::int64_t>(kMeanTokens); });
  CHECK(latency(constant) == Approx(service + wait / 2).epsilon(0.05));
  // One in ten takes eleven times as long as the others.
  RandomStream service_stream(8, "service");
  const Workload mixed = queue_load(kServers * kRho, [&] {
    return service_stream.uniform() < 0.1 ? std::int64_t{275} : std::int64_t{25};
  });
  const double second = 0.1 * 275 * 275 + 0.9 * 25 * 25;
  CHECK(latency(mixed) ==
        Approx(service + wait * second / (kMeanTokens * kMeanTokens) / 2).epsilon(0.05));
}

TEST_CASE("steps as long as their batch share the engine as processor sharing does") {
  Fleet fleet = aggregated(1, {.base = Duration{0}, .per_prefill = kStep, .per_decode = kStep});
  fleet.plan.pools[0].config.max_num_seqs = 4096;
  const double service = to_millis(kStep) * kMeanTokens;
  for (const double rho : {0.4, 0.7}) {
    // The mean time in the system does not depend on how service is distributed.
    const Workload constant =
        queue_load(rho, [] { return static_cast<std::int64_t>(kMeanTokens); });
    for (const Workload& load : {exponential_load(rho), constant}) {
      CHECK(mean_of(simulate(fleet.spec(), load).report, "request_latency") ==
            Approx(service / (1 - rho)).epsilon(0.05));
    }
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
        Approx(rho / (1 - rho)).epsilon(0.05));
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
