// Clients that leave before their answers end, by hand.
#include <algorithm>
#include <catch2/catch.hpp>

#include "dyn/core/error.h"
#include "dyn/core/random.h"
#include "fleets.h"

namespace dyn::sim {
namespace {

using namespace test;

const LinearTimer::Times kTimes{.base = ms(10), .per_prefill = us(100)};

Traffic leaving(double share, Duration after, double cv = 0) {
  Traffic traffic;
  traffic.isl = Tokens(100);
  traffic.osl = Tokens(50);
  traffic.rate = RequestsPerSec(10);
  traffic.requests = 4000;
  traffic.cancellation = CancellationSpec{share, after, false, cv};
  return traffic;
}

std::vector<Duration> of_those_who_leave(const Workload& load) {
  std::vector<Duration> out;
  std::copy_if(load.patience.begin(), load.patience.end(), std::back_inserter(out),
               [](Duration patience) { return patience != Workload::kPatient; });
  return out;
}

TEST_CASE("a client that leaves while its answer is made has the tokens made so far") {
  const Fleet fleet = aggregated(1, kTimes);
  Workload load = workload({{ms(0), 100, 50}});
  load.patience = {ms(45)};
  const SimulationResult result = simulate(fleet.spec(), load);
  const RequestRecord& record = result.records[0];
  CHECK(record.status == RequestStatus::cancelled);
  CHECK(record.first_token == at(ms(20)));
  CHECK(record.finished == at(ms(45)));
  CHECK(record.output_tokens == 3);  // after 20, 30 and 40 ms
  CHECK(result.fleet.cancellations == 1);
  CHECK(result.fleet.abandoned_tokens == 102);
  CHECK(result.report.find("cancelled_request_count")->avg == 1);
  CHECK(result.report.find("error_request_count")->avg == 1);
}

TEST_CASE("an answer that has ended before its client would leave has ended") {
  const Fleet fleet = aggregated(1, kTimes);
  Workload load = workload({{ms(0), 100, 3}});
  load.patience = {ms(41)};
  const SimulationResult result = simulate(fleet.spec(), load);
  CHECK(result.records[0].status == RequestStatus::completed);
  CHECK(result.fleet.cancellations == 0);
}

TEST_CASE("what a client that leaves held is another's at once") {
  Fleet fleet = aggregated(1, kTimes);
  fleet.plan.pools[0].config.max_num_seqs = 1;
  Workload load = workload({{ms(0), 100, 1000}, {ms(0), 100, 2}});
  load.patience = {ms(95), Workload::kPatient};
  const RequestRecord second = simulate(fleet.spec(), load).records[1];
  CHECK(second.first_scheduled == at(ms(100)));  // when the step under way has ended
  CHECK(second.first_token == at(ms(120)));
}

TEST_CASE("a client that leaves an engine's or a router's queue was never served") {
  Fleet fleet = aggregated(1, kTimes);
  fleet.plan.pools[0].config.max_num_seqs = 1;
  Workload load = workload({{ms(0), 100, 20}, {ms(1), 100, 2}});
  load.patience = {Workload::kPatient, ms(50)};
  const auto check = [&](bool held) {
    const SimulationResult result = simulate(fleet.spec(), load);
    const RequestRecord& second = result.records[1];
    CHECK(second.status == RequestStatus::cancelled);
    CHECK(second.first_scheduled == SimTime::min());
    CHECK(second.finished == at(ms(51)));
    CHECK(second.output_tokens == 0);
    CHECK(result.fleet.abandoned_tokens == 0);
    CHECK(result.fleet.held == (held ? 1 : 0));
  };
  check(false);
  fleet.plan.router.hold_above = 0;
  check(true);
}

TEST_CASE("a client may leave while its prompt is computed, while its KV moves, and after") {
  Fleet fleet = disaggregated(1, 1, kTimes, {.base = ms(2), .per_prefill = us(100)});
  fleet.plan.transfer = {BytesPerSec(1e8), Duration{0}, Bytes(10'000)};
  Workload load = workload({{ms(0), 100, 30}});
  // The prompt takes 20 ms and its KV 10 ms.
  for (const auto& [patience, tokens] :
       std::vector<std::pair<Duration, int>>{{ms(15), 0}, {ms(25), 0}, {us(35'500), 2}}) {
    load.patience = {patience};
    const RequestRecord record = simulate(fleet.spec(), load).records[0];
    CHECK(record.status == RequestStatus::cancelled);
    CHECK(record.finished == at(patience));
    CHECK(record.output_tokens == tokens);
    CHECK(record.prefill_worker == 0);
  }
}

TEST_CASE("a client that has left does not try again") {
  Fleet fleet = aggregated(1, kTimes);
  fleet.plan.router.max_queued_per_worker = 1;
  fleet.plan.pools[0].config.max_num_seqs = 1;
  Workload load = workload({{ms(0), 100, 50}, {ms(1), 100, 50}, {ms(2), 100, 2}, {ms(3), 10, 2}});
  load.patience = {Workload::kPatient, Workload::kPatient, ms(30), Workload::kPatient};
  FaultSpec faults;
  faults.retry.attempts = 100;
  faults.retry.backoff = ms(50);
  faults.retry.multiplier = 1;
  faults.retry.jitter = 0;
  SimulationSpec spec = fleet.spec();
  spec.faults = &faults;
  const SimulationResult result = simulate(spec, load);
  CHECK(result.records[2].status == RequestStatus::cancelled);
  CHECK(result.records[2].finished == at(ms(32)));
  CHECK(result.records[2].attempts == 2);
  CHECK(result.records[3].status == RequestStatus::completed);
}

TEST_CASE("the slot of a client that leaves sends its next request") {
  const Fleet fleet = aggregated(1, kTimes);
  Workload load = workload({{ms(0), 100, 50}, {ms(0), 100, 2}}, 1);
  load.patience = {ms(45), Workload::kPatient};
  CHECK(simulate(fleet.spec(), load).records[1].sent == at(ms(45)));
}

TEST_CASE("the drawn share of clients leaves, the same ones however long they wait") {
  const Workload fixed = make_synthetic(leaving(0.25, ms(700)), 3);
  const std::vector<Duration> waits = of_those_who_leave(fixed);
  CHECK(static_cast<double>(waits.size()) / 4000 == Approx(0.25).margin(0.03));
  CHECK(std::all_of(waits.begin(), waits.end(), [](Duration wait) { return wait == ms(700); }));
  const Workload varied = make_synthetic(leaving(0.25, ms(700), 1), 3);
  double sum = 0;
  for (std::size_t i = 0; i < fixed.patience.size(); ++i) {
    CHECK((fixed.patience[i] == Workload::kPatient) == (varied.patience[i] == Workload::kPatient));
    sum += varied.patience[i] == Workload::kPatient ? 0 : to_seconds(varied.patience[i]);
  }
  CHECK(sum / static_cast<double>(waits.size()) == Approx(0.7).epsilon(0.1));
  CHECK(make_synthetic(leaving(0, ms(1)), 3).patience.empty());
}

TEST_CASE("clients leave a trace's requests too, of those that its limit leaves") {
  Traffic traffic;
  traffic.limit = 2;
  traffic.cancellation = CancellationSpec{1, ms(5), false, 0};
  const Workload load = parse_trace(
      R"({"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]}
{"timestamp": 1, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]}
{"timestamp": 2, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]}
)",
      "t.jsonl", traffic, 1);
  CHECK(load.patience == std::vector<Duration>{ms(5), ms(5)});
}

TEST_CASE("what is made at the instant at which a client leaves still reaches it") {
  const Fleet fleet = aggregated(1, kTimes);
  Workload load = workload({{ms(0), 100, 3}, {ms(200), 100, 5}});
  load.patience = {ms(40), ms(40)};
  const SimulationResult result = simulate(fleet.spec(), load);
  CHECK(result.records[0].status == RequestStatus::completed);
  CHECK(result.records[1].status == RequestStatus::cancelled);
  CHECK(result.records[1].output_tokens == 3);  // after 20, 30 and 40 ms
}

TEST_CASE("a client that waits for its first token only stays once it has it") {
  const Fleet fleet = aggregated(1, kTimes);
  Workload load = workload({{ms(0), 100, 50}, {ms(5), 100, 5}});
  load.patience = {ms(45), ms(10)};
  load.patient_once_served = true;
  const SimulationResult result = simulate(fleet.spec(), load);
  CHECK(result.records[0].status == RequestStatus::completed);
  CHECK(result.records[1].status == RequestStatus::cancelled);
  CHECK(result.records[1].finished == at(ms(15)));
  Traffic traffic;
  traffic.isl = Tokens(10);
  traffic.osl = Tokens(10);
  traffic.rate = RequestsPerSec(1);
  traffic.cancellation = CancellationSpec{0.5, ms(10), true, 0};
  CHECK(make_synthetic(traffic, 1).patient_once_served);
}

/// The share of 20,000 clients that leave one server: Poisson arrivals, exponential service and
/// patience, all of a mean of one second.
double leaving(bool until_first_token) {
  Fleet fleet = aggregated(1, {.base = ms(1)});
  fleet.plan.pools[0].config.max_num_seqs = 1;
  RandomStream random(3, "deadlines");
  std::vector<Ask> asks;
  std::vector<Duration> patience;
  Duration now{0};
  for (int i = 0; i < 20'000; ++i) {
    now += from_seconds(random.exponential(1));
    asks.push_back({now, 1, 1 + static_cast<std::int64_t>(random.exponential(1000))});
    patience.push_back(from_seconds(random.exponential(1)));
  }
  Workload load = workload(asks);
  load.patience = patience;
  load.patient_once_served = until_first_token;
  const SimulationResult result = simulate(fleet.spec(), load);
  return mean_of(result.report, "cancelled_request_count") / 20'000;
}

// Patience until the end of service makes a birth-death process with death rate mu + n * theta.
// With all rates equal n clients are present with probability p(0) / (n + 1)!, p(0) = 1 / (e - 1),
// and 1 - mu * (1 - p(0)) / lambda leave. Patience until its begin (Palm's model, M/M/1+M) has the
// death rate mu + (n - 1) * theta: n are present with probability exp(-1) / n!, and exp(-1) leave.
TEST_CASE("of clients with exponential patience as many leave as queueing theory says") {
  CHECK(leaving(false) == Approx(0.582).margin(0.012));
  CHECK(leaving(true) == Approx(0.368).margin(0.012));
}

}  // namespace
}  // namespace dyn::sim
