// Runs the cases of tests/golden/sim: a fleet and a load in, exact figures out. A change that
// keeps them has changed no event. DYN_BLESS=1 writes the figures of this build into the cases.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "fleets.h"

namespace dyn::sim {
namespace {

using Json = nlohmann::ordered_json;
using namespace test;

template <class T>
T one_of(const Json& name, std::initializer_list<std::pair<const char*, T>> names) {
  for (const auto& [text, value] : names) {
    if (name == text) {
      return value;
    }
  }
  FAIL("unknown name " << name);
  return {};
}

LinearTimer::Times times_of(const Json& step) {
  LinearTimer::Times times;
  times.base = us(step.at("base_us"));
  times.per_prefill = Duration(step.value("per_prefill_token_ns", 0));
  times.per_decode = Duration(step.value("per_sequence_ns", 0));
  times.per_context = Duration(step.value("per_context_token_ns", 0));
  times.frontend = us(step.value("frontend_us", 0));
  return times;
}

Fleet fleet_of(const Json& json) {
  Fleet fleet;
  for (const Json& from : json.at("pools")) {
    PoolSpec to = pool(one_of<WorkerRole>(from.at("role"), {{"aggregated", WorkerRole::aggregated},
                                                            {"prefill", WorkerRole::prefill},
                                                            {"decode", WorkerRole::decode}}),
                       from.at("replicas"));
    to.layout.data = from.value("ranks", 1);
    to.config.kv_blocks = from.at("kv_blocks").get<std::int64_t>();
    to.config.max_num_seqs = from.value("max_num_seqs", 256);
    to.config.max_num_batched_tokens = from.value("max_num_batched_tokens", 8192);
    to.config.prefix_caching = from.value("prefix_caching", true);
    fleet.plan.pools.push_back(to);
    fleet.timers.push_back(timer(times_of(from.at("step"))));
  }
  fleet.plan.router.kind =
      one_of<RouterKind>(json.at("router"), {{"round_robin", RouterKind::round_robin},
                                             {"random", RouterKind::random},
                                             {"least_loaded", RouterKind::least_loaded},
                                             {"kv_aware", RouterKind::kv_aware}});
  fleet.plan.router.max_queued_per_worker = json.value("max_queued_per_worker", 1'000'000);
  if (json.contains("transfer")) {
    const Json& link = json["transfer"];
    fleet.plan.transfer = {BytesPerSec(link.at("gb_per_s").get<double>() * 1e9),
                           us(link.at("latency_us")),
                           Bytes(link.at("bytes_per_token").get<std::int64_t>())};
  }
  return fleet;
}

Workload load_of(const Json& json) {
  const auto seed = json.at("seed").get<std::uint64_t>();
  if (json.contains("conversation")) {
    const Json& from = json["conversation"];
    return make_conversation(from.at("requests"), ms(from.at("span_ms")), seed);
  }
  const Json& from = json.at("synthetic");
  Traffic traffic;
  traffic.isl = Tokens(from.at("isl").get<std::int64_t>());
  traffic.osl = Tokens(from.at("osl").get<std::int64_t>());
  traffic.requests = from.at("requests");
  if (from.contains("rate_per_s")) {
    traffic.rate = RequestsPerSec(from["rate_per_s"].get<double>());
  } else {
    traffic.concurrency = from.at("concurrency").get<int>();
  }
  traffic.lengths = one_of<LengthDistribution>(from.value("lengths", "fixed"),
                                               {{"fixed", LengthDistribution::fixed},
                                                {"uniform", LengthDistribution::uniform},
                                                {"normal", LengthDistribution::normal},
                                                {"lognormal", LengthDistribution::lognormal}});
  traffic.length_spread = from.value("length_spread", 0.0);
  traffic.shared_prefix = Tokens(from.value("shared_prefix", 0));
  traffic.prefix_groups = from.value("prefix_groups", 1);
  return make_synthetic(traffic, seed);
}

/// Whole numbers only: they are equal or they are not.
Json figures(const SimulationResult& result) {
  std::int64_t completed = 0, cached = 0, preempted = 0, ttft = 0, e2e = 0, transfer = 0;
  for (const RequestRecord& record : result.records) {
    preempted += record.preemptions;
    cached += record.cached_tokens;
    if (record.status == RequestStatus::completed) {
      ++completed;
      ttft += (record.first_token - record.sent).count();
      e2e += (record.finished - record.sent).count();
      transfer += record.transfer.count();
    }
  }
  return {{"fingerprint", fmt::format("{:016x}", result.fingerprint)},
          {"events", result.events},
          {"steps", result.steps},
          {"completed", completed},
          {"cached_tokens", cached},
          {"preemptions", preempted},
          {"ttft_ns", ttft},
          {"e2e_ns", e2e},
          {"transfer_ns", transfer}};
}

TEST_CASE("every golden case has the figures that are written in it") {
  const bool bless = std::getenv("DYN_BLESS") != nullptr;
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(source_path("tests/golden/sim"))) {
    if (entry.path().extension() != ".json") {
      continue;
    }
    ++cases;
    INFO(entry.path());
    std::ifstream file(entry.path());
    Json json = Json::parse(file);
    const Fleet fleet = fleet_of(json.at("fleet"));
    SimulationSpec spec = fleet.spec();
    spec.seed = json.at("load").at("seed");
    const Json found = figures(simulate(spec, load_of(json.at("load"))));
    if (bless) {
      json["expect"] = found;
      std::ofstream(entry.path()) << json.dump(2) << '\n';
    } else {
      CHECK(json.at("expect") == found);
    }
  }
  CHECK(cases >= 6);
}

}  // namespace
}  // namespace dyn::sim
