#include "dyn/configurator/emit.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "dyn/core/document.h"
#include "dyn/core/error.h"
#include "problems.h"

namespace dyn::configurator {
namespace {

/// `prefill` + `decode` workers of two GPUs each, or `decode` aggregated ones of them.
Plan plan_of(int prefill, int decode) {
  Plan plan;
  plan.name = "test";
  plan.model = find_model("Qwen/Qwen3-32B");
  plan.weights = Precision::fp8;
  plan.kv_cache = Precision::fp8;
  plan.profile = perf::builtin_profile("h200");
  PoolSpec pool;
  pool.layout.tensor = 2;
  pool.config.kv_blocks = 1000;
  pool.config.max_model_len = 8192;
  if (prefill > 0) {
    pool.role = WorkerRole::prefill;
    pool.replicas = prefill;
    plan.pools.push_back(pool);
    plan.transfer.bandwidth = BytesPerSec(1e10);
  }
  pool.role = prefill > 0 ? WorkerRole::decode : WorkerRole::aggregated;
  pool.replicas = decode;
  plan.pools.push_back(pool);
  return plan;
}

const EmittedFile& file(const std::vector<EmittedFile>& files, const std::string& path) {
  const auto at = std::find_if(files.begin(), files.end(),
                               [&](const EmittedFile& f) { return f.path == path; });
  REQUIRE(at != files.end());
  return *at;
}

std::string flag(const YAML::Node& arguments, const std::string& name) {
  for (std::size_t i = 0; i + 1 < arguments.size(); ++i) {
    if (arguments[i].Scalar() == name) {
      return arguments[i + 1].Scalar();
    }
  }
  return {};
}

TEST_CASE("compose starts one engine a worker, each on GPUs of its own, behind the front end") {
  const auto files = emit(plan_of(0, 3), EmitTarget::compose);
  const YAML::Node services = YAML::Load(file(files, "compose.yaml").content)["services"];
  REQUIRE(services.size() == 4);
  std::set<std::string> gpus;
  for (const char* name : {"worker-0", "worker-1", "worker-2"}) {
    const YAML::Node service = services[name];
    REQUIRE(service["command"][0].Scalar() == "Qwen/Qwen3-32B");
    REQUIRE(flag(service["command"], "--tensor-parallel-size") == "2");
    REQUIRE(flag(service["command"], "--max-num-seqs") == "256");
    REQUIRE(flag(service["command"], "--max-num-batched-tokens") == "8192");
    REQUIRE(flag(service["command"], "--max-model-len") == "8192");
    REQUIRE(flag(service["command"], "--gpu-memory-utilization") == "0.9");
    REQUIRE(flag(service["command"], "--quantization") == "fp8");
    REQUIRE(flag(service["command"], "--kv-cache-dtype") == "fp8");
    REQUIRE(flag(service["command"], "--kv-transfer-config").empty());
    const YAML::Node device = service["deploy"]["resources"]["reservations"]["devices"][0];
    REQUIRE(device["driver"].Scalar() == "nvidia");
    REQUIRE(device["capabilities"].IsSequence());
    REQUIRE(device["device_ids"].size() == 2);
    for (const YAML::Node& id : device["device_ids"]) {
      REQUIRE(gpus.insert(id.Scalar()).second);
    }
    REQUIRE(service["volumes"].IsSequence());
    const std::string image = service["image"].Scalar();
    REQUIRE(std::count(image.begin(), image.end(), '.') == 2);  // tags have three parts
  }
  REQUIRE(services["frontend"]["command"][0].Scalar() == "serve");
  REQUIRE(services["frontend"]["depends_on"]["worker-2"]["condition"].Scalar() ==
          "service_healthy");
}

TEST_CASE("host memory for KV becomes the engine's own host cache") {
  Plan plan = plan_of(0, 1);
  plan.kv_tiers.host.emplace().capacity = Bytes(std::int64_t{96} << 30);
  plan.pools[0].layout.data = 2;
  const YAML::Node command = YAML::Load(file(emit(plan, EmitTarget::compose), "compose.yaml")
                                            .content)["services"]["worker-0"]["command"];
  REQUIRE(flag(command, "--kv-offloading-backend") == "native");
  REQUIRE(flag(command, "--kv-offloading-size") == "48");
}

TEST_CASE("slots for LoRA adapters become the engine's own") {
  Plan plan = plan_of(0, 1);
  plan.pools[0].config.lora.emplace().slots = 4;
  plan.pools[0].config.lora->host_slots = 16;
  plan.pools[0].config.lora->rank = 32;
  const YAML::Node command = YAML::Load(file(emit(plan, EmitTarget::compose), "compose.yaml")
                                            .content)["services"]["worker-0"]["command"];
  REQUIRE(flag(command, "--max-loras") == "4");
  REQUIRE(flag(command, "--max-cpu-loras") == "16");
  REQUIRE(flag(command, "--max-lora-rank") == "32");
}

TEST_CASE("the front end's plan names every engine that compose starts") {
  const auto files = emit(plan_of(0, 2), EmitTarget::compose);
  const Plan plan = parse_plan(Document::parse(file(files, "plan.json").content, "plan.json"));
  REQUIRE(plan.pools[0].engine.kind == EngineKind::openai);
  REQUIRE(plan.pools[0].engine.url ==
          std::vector<std::string>{"http://worker-0:8100", "http://worker-1:8100"});
}

TEST_CASE("prefill and decode engines are connected by NIXL") {
  const auto files = emit(plan_of(1, 1), EmitTarget::compose);
  const YAML::Node services = YAML::Load(file(files, "compose.yaml").content)["services"];
  REQUIRE(services.size() == 3);
  REQUIRE(services["frontend"]["depends_on"].size() == 2);
  const Plan plan = parse_plan(Document::parse(file(files, "plan.json").content, "plan.json"));
  REQUIRE(plan.pools[0].engine.url == std::vector<std::string>{"http://prefill-0:8100"});
  REQUIRE(plan.pools[1].engine.url == std::vector<std::string>{"http://decode-0:8100"});
  for (const char* name : {"prefill-0", "decode-0"}) {
    const YAML::Node config = YAML::Load(flag(services[name]["command"], "--kv-transfer-config"));
    REQUIRE(config["kv_connector"].Scalar() == "NixlConnector");
    REQUIRE(services[name]["environment"]["VLLM_NIXL_SIDE_CHANNEL_HOST"].Scalar() == name);
  }
}

TEST_CASE("a plan of several nodes becomes a compose file a node, with no GPU used twice") {
  const auto files = emit(plan_of(3, 6), EmitTarget::compose);  // 18 GPUs
  REQUIRE(files.size() == 4);
  std::size_t engines = 0;
  for (int node = 0; node < 3; ++node) {
    const std::string name = "compose.node" + std::to_string(node) + ".yaml";
    const YAML::Node services = YAML::Load(file(files, name).content)["services"];
    std::set<std::string> gpus;
    std::set<std::string> ports;
    REQUIRE(services["frontend"].IsDefined() == (node == 0));
    for (const auto& entry : services) {
      if (entry.first.Scalar() == "frontend") {
        continue;
      }
      ++engines;
      REQUIRE(ports.insert(flag(entry.second["command"], "--port")).second);
      const YAML::Node device = entry.second["deploy"]["resources"]["reservations"]["devices"][0];
      for (const YAML::Node& id : device["device_ids"]) {
        REQUIRE(gpus.insert(id.Scalar()).second);
        REQUIRE(std::stoi(id.Scalar()) < 8);
      }
    }
  }
  REQUIRE(engines == 9);
}

std::map<std::string, YAML::Node> objects_of(const Plan& plan) {
  std::map<std::string, YAML::Node> objects;
  const auto files = emit(plan, EmitTarget::kubernetes);
  for (const YAML::Node& object : YAML::LoadAll(file(files, "kubernetes.yaml").content)) {
    const std::string key = object["kind"].Scalar() + '/' + object["metadata"]["name"].Scalar();
    REQUIRE(objects.emplace(key, object).second);
  }
  return objects;
}

/// A set's or deployment's selector must find the pods of its template.
void check_selector(const YAML::Node& spec) {
  REQUIRE(spec["selector"]["matchLabels"].size() > 0);
  for (const auto& label : spec["selector"]["matchLabels"]) {
    REQUIRE(spec["template"]["metadata"]["labels"][label.first.Scalar()].Scalar() ==
            label.second.Scalar());
  }
}

TEST_CASE("Kubernetes gets a set, a headless service and limits a pool, and the plan") {
  const auto objects = objects_of(plan_of(0, 4));
  REQUIRE(objects.size() == 5);
  const YAML::Node set = objects.at("StatefulSet/worker")["spec"];
  REQUIRE(set["replicas"].as<int>() == 4);
  const YAML::Node container = set["template"]["spec"]["containers"][0];
  REQUIRE(container["resources"]["limits"]["nvidia.com/gpu"].as<int>() == 2);
  REQUIRE(container["securityContext"]["allowPrivilegeEscalation"].as<bool>() == false);
  REQUIRE(container["securityContext"]["capabilities"]["drop"][0].Scalar() == "ALL");
  REQUIRE(container["startupProbe"]["httpGet"]["path"].Scalar() == "/health");
  check_selector(set);
  check_selector(objects.at("Deployment/frontend")["spec"]);
  REQUIRE(objects.at("Service/worker")["spec"]["clusterIP"].Scalar() == "None");
  const std::string text = objects.at("ConfigMap/dyn-plan")["data"]["plan.json"].Scalar();
  const Plan plan = parse_plan(Document::parse(text, "plan.json"));
  REQUIRE(plan.pools[0].engine.url.size() == 4);
  REQUIRE(plan.pools[0].engine.url.back() == "http://worker-3.worker:8100");
}

TEST_CASE("a disaggregated plan's sets on Kubernetes learn their address for NIXL from the pod") {
  const auto objects = objects_of(plan_of(2, 4));
  REQUIRE(objects.size() == 7);
  const std::string text = objects.at("ConfigMap/dyn-plan")["data"]["plan.json"].Scalar();
  const Plan plan = parse_plan(Document::parse(text, "plan.json"));
  REQUIRE(plan.pools[0].engine.url.back() == "http://prefill-1.prefill:8100");
  REQUIRE(plan.pools[1].engine.url.back() == "http://decode-3.decode:8100");
  for (const char* key : {"StatefulSet/prefill", "StatefulSet/decode"}) {
    const YAML::Node spec = objects.at(key)["spec"];
    check_selector(spec);
    bool found = false;
    for (const YAML::Node& variable : spec["template"]["spec"]["containers"][0]["env"]) {
      found = found || (variable["name"].Scalar() == "VLLM_NIXL_SIDE_CHANNEL_HOST" &&
                        variable["valueFrom"]["fieldRef"]["fieldPath"].Scalar() == "status.podIP");
    }
    REQUIRE(found);
  }
}

TEST_CASE("AMD GPUs get their own image, devices and resource") {
  Plan plan = plan_of(0, 2);
  plan.profile = perf::builtin_profile("mi300x");
  const YAML::Node services =
      YAML::Load(file(emit(plan, EmitTarget::compose), "compose.yaml").content)["services"];
  REQUIRE_THAT(services["worker-1"]["image"].Scalar(), Catch::Contains("rocm"));
  REQUIRE(services["worker-1"]["environment"]["HIP_VISIBLE_DEVICES"].Scalar() == "2,3");
  REQUIRE_FALSE(services["worker-1"]["deploy"]);
  const std::string text = file(emit(plan, EmitTarget::kubernetes), "kubernetes.yaml").content;
  REQUIRE_THAT(text, Catch::Contains("amd.com/gpu: 2"));
}

TEST_CASE("a context beyond the model's is allowed explicitly and remarked on") {
  Plan plan = plan_of(0, 1);
  plan.pools[0].config.max_model_len = 131072;
  const std::string text = file(emit(plan, EmitTarget::compose), "compose.yaml").content;
  REQUIRE_THAT(text, Catch::Contains("VLLM_ALLOW_LONG_MAX_MODEL_LEN: \"1\""));
  REQUIRE_THAT(text, Catch::Contains("# The load has requests beyond the model's context"));
}

TEST_CASE("a worker that spans nodes is refused") {
  Plan plan = plan_of(0, 1);
  plan.pools[0].layout = {8, 2, 1, 1};
  REQUIRE_THROWS_WITH(emit(plan, EmitTarget::compose), Catch::Contains("16 GPUs, a node 8"));
  REQUIRE_THROWS_AS(emit(plan, EmitTarget::kubernetes), Error);
}

TEST_CASE("equal plans give equal bytes") {
  for (const EmitTarget target : {EmitTarget::compose, EmitTarget::kubernetes}) {
    const auto first = emit(plan_of(1, 3), target);
    const auto second = emit(plan_of(1, 3), target);
    for (std::size_t i = 0; i < first.size(); ++i) {
      REQUIRE(first[i].content == second[i].content);
    }
  }
}

TEST_CASE("an unknown target names the known ones") {
  REQUIRE_THROWS_WITH(parse_emit_target("composed"), Catch::Contains("did you mean 'compose'?"));
}

}  // namespace
}  // namespace dyn::configurator
