// Runs the recipes of tests/golden/sim in this process: NAME.yaml is a recipe with a fixed fleet,
// NAME.expected.json what the simulator gives for it, to the last bit. A change that keeps them
// has changed no event. DYN_BLESS=1 writes what this build gives; DYN_GOLDEN=TEXT runs only the
// cases whose path contains TEXT.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "dyn/configurator/explore.h"
#include "dyn/sim/simulation.h"
#include "paths.h"

namespace dyn {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t kLeastCases = 100;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// Recipes in the order of their paths.
std::vector<fs::path> cases() {
  std::vector<fs::path> paths;
  const std::string wanted = environment("DYN_GOLDEN");
  for (const auto& entry :
       fs::recursive_directory_iterator(test::source_path("tests/golden/sim"))) {
    const fs::path& path = entry.path();
    if (path.extension() == ".yaml" && path.string().find(wanted) != std::string::npos) {
      paths.push_back(path);
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

Json metrics_of(const std::vector<Metric>& metrics) {
  Json json = Json::object();
  for (const Metric& metric : metrics) {
    json[metric.tag] =
        metric.count == 0 ? Json(metric.avg) : Json{metric.avg, metric.p50, metric.p99, metric.max};
  }
  return json;
}

Json engines_of(const std::vector<engine::EngineLoad>& engines) {
  std::int64_t steps = 0, preemptions = 0, cached = 0;
  for (const engine::EngineLoad& load : engines) {
    steps += load.steps;
    preemptions += load.preemptions;
    cached += load.cached_blocks;
  }
  return {{"count", engines.size()},
          {"steps", steps},
          {"preemptions", preemptions},
          {"cached_blocks", cached}};
}

/// Times are sums over requests, so that one nanosecond anywhere shows.
Json records_of(const std::vector<RequestRecord>& records) {
  std::int64_t completed = 0, cached = 0, ttft = 0, e2e = 0, transfer = 0;
  for (const RequestRecord& record : records) {
    cached += record.cached_tokens;
    if (record.status == RequestStatus::completed) {
      ++completed;
      ttft += (record.first_token - record.sent).count();
      e2e += (record.finished - record.sent).count();
      transfer += record.transfer.count();
    }
  }
  return {{"sent", records.size()}, {"completed", completed}, {"cached_tokens", cached},
          {"ttft_ns", ttft},        {"e2e_ns", e2e},          {"transfer_ns", transfer}};
}

/// What happened to the fleet besides its requests; nothing where it stood still.
Json fleet_of(const sim::FleetHistory& history) {
  Json faults = Json::array();
  for (const sim::FaultImpact& fault : history.faults) {
    faults.push_back({(fault.at.time_since_epoch()).count(), fault.until.time_since_epoch().count(),
                      fault.worker, fault.requests, fault.migrated, fault.failed,
                      fault.lost_tokens});
  }
  Json pools = Json::array();
  for (const sim::PoolHistory& pool : history.pools) {
    pools.push_back(
        {pool.gpu_hours, pool.most_workers, pool.growths, pool.shrinkings, pool.direction_changes});
  }
  return {{"migrations", history.migrations},
          {"retries", history.retries},
          {"lost_tokens", history.lost_tokens},
          {"held", history.held},
          {"local_prefills", history.local_prefills},
          {"replica_changes", history.replicas.size() - history.pools.size()},
          {"pools", pools},
          {"faults", faults}};
}

Json expectation(const sim::SimulationResult& result) {
  Json json = {{"fingerprint", fmt::format("{:016x}", result.fingerprint)},
               {"events", result.events},
               {"requests", records_of(result.records)},
               {"engines", engines_of(result.engines)}};
  const sim::FleetHistory& history = result.fleet;
  if (history.replicas.size() > history.pools.size() || !history.faults.empty() ||
      history.retries + history.held + history.local_prefills > 0) {
    json["fleet"] = fleet_of(history);
  }
  json["metrics"] = metrics_of(result.report.metrics);
  for (const ClassReport& one : result.report.classes) {
    json["metrics"]["class " + one.name] = metrics_of(one.metrics);
  }
  return json;
}

/// One line a figure.
std::string text_of(const Json& json) {
  std::string text = "{";
  for (const auto& [key, value] : json.items()) {
    text += (text.size() > 1 ? ",\n \"" : "\n \"") + key + "\": ";
    if (key != "metrics") {
      text += value.dump();
      continue;
    }
    std::string inner;
    for (const auto& [tag, figures] : value.items()) {
      inner += (inner.empty() ? "\n  \"" : ",\n  \"") + tag + "\": " + figures.dump();
    }
    text += '{' + inner + "\n }";
  }
  return text + "\n}\n";
}

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

struct Case {
  Plan plan;
  sim::Workload workload;
  Recipe recipe;

  sim::SimulationResult run(engine::Stepping stepping) const {
    sim::SimulationSpec spec;
    spec.plan = &plan;
    spec.timers = sim::compile_timers(plan);
    spec.images = sim::compile_image_timers(plan, workload);
    spec.seed = recipe.seed;
    spec.stepping = stepping;
    spec.faults = &recipe.faults;
    return sim::simulate(spec, workload);
  }
};

Case load(const fs::path& path) {
  Case out;
  out.recipe = load_recipe(path);
  REQUIRE(out.recipe.deployment);
  out.workload = sim::make_workload(out.recipe, path);
  out.plan = configurator::plan_of(out.recipe, path, out.workload);
  return out;
}

TEST_CASE("every golden recipe gives what is written beside it") {
  const bool bless = !environment("DYN_BLESS").empty();
  const std::vector<fs::path> paths = cases();
  for (const fs::path& path : paths) {
    INFO(path.string());
    const Case golden = load(path);
    const Json found = expectation(golden.run(engine::Stepping::fast_forward));
    fs::path beside = path;
    beside.replace_extension(".expected.json");
    if (bless) {
      std::ofstream(beside, std::ios::binary) << text_of(found);
      continue;
    }
    CHECK(read(beside) == text_of(found));
    // The events differ, what happens does not.
    const Json stepped = expectation(golden.run(engine::Stepping::every_step));
    for (const char* part : {"requests", "engines", "fleet", "metrics"}) {
      CHECK(stepped.value(part, Json()) == found.value(part, Json()));
    }
  }
  CHECK((paths.size() >= kLeastCases || !environment("DYN_GOLDEN").empty()));
}

double mean_of(const sim::SimulationResult& result, const char* tag) {
  const Metric* metric = result.report.find(tag);
  REQUIRE(metric != nullptr);
  return metric->avg;
}

/// A recipe of the folder `mocker`, in fast-forward.
sim::SimulationResult replayed(const std::string& name) {
  const std::string path = test::source_path("tests/golden/sim/mocker/" + name + ".yaml");
  return load(path).run(engine::Stepping::fast_forward);
}

TEST_CASE("with the step times of Dynamo's mocker its scenarios come out as there, within 2 %") {
  const Json peer = Json::parse(read(test::source_path("tests/golden/sim/mocker/peer.json")));
  REQUIRE(peer.at("scenarios").size() >= 6);
  for (const Json& scenario : peer.at("scenarios")) {
    const auto name = scenario.at("name").get<std::string>();
    INFO(name);
    const sim::SimulationResult result = replayed(name);
    CHECK(mean_of(result, "time_to_first_token") ==
          Approx(scenario.at("ttft_ms").get<double>()).epsilon(0.02));
    CHECK(mean_of(result, "inter_token_latency") ==
          Approx(scenario.at("tpot_ms").get<double>()).epsilon(0.02));
    CHECK(mean_of(result, "request_latency") ==
          Approx(scenario.at("e2e_ms").get<double>()).epsilon(0.02));
  }
}

TEST_CASE("prompts first make first tokens later and the others sooner than mixed steps do") {
  const sim::SimulationResult mixed = replayed("closed64");
  const sim::SimulationResult prompts_first = replayed("closed64_sglang");
  CHECK(mean_of(prompts_first, "time_to_first_token") / mean_of(mixed, "time_to_first_token") ==
        Approx(4.2).epsilon(0.05));
  CHECK(mean_of(prompts_first, "inter_token_latency") / mean_of(mixed, "inter_token_latency") ==
        Approx(0.75).epsilon(0.05));
}

}  // namespace
}  // namespace dyn
