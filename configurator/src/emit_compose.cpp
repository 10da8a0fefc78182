#include <algorithm>

#include "dyn/configurator/emit.h"
#include "dyn/core/error.h"
#include "emit_targets.h"
#include "manifest.h"

namespace dyn::configurator {
namespace {

constexpr int kFrontendPort = 8000;
constexpr int kEnginePort = 8100;
constexpr int kSideChannelPort = 5600;

/// One worker, and where it goes.
struct Placed {
  const PoolSpec* pool = nullptr;
  std::string service;
  int node = 0;
  int slot = 0;       ///< among the workers of its node
  int first_gpu = 0;  ///< of its node
};

/// Workers in order, each on the first node that has room.
std::vector<Placed> place(const Plan& plan, int& nodes) {
  const int node_gpus = std::max(1, plan.profile.device.gpus_per_node);
  std::vector<int> used;
  std::vector<int> slots;
  std::vector<Placed> placed;
  for (const PoolSpec& pool : plan.pools) {
    for (int i = 0; i < pool.replicas; ++i) {
      std::size_t node = 0;
      while (node < used.size() && used[node] + pool.layout.gpus() > node_gpus) {
        ++node;
      }
      if (node == used.size()) {
        used.push_back(0);
        slots.push_back(0);
      }
      placed.push_back({&pool, std::string(pool_name(pool)) + '-' + std::to_string(i),
                        static_cast<int>(node), slots[node]++, used[node]});
      used[node] += pool.layout.gpus();
    }
  }
  nodes = static_cast<int>(used.size());
  return placed;
}

std::string node_variable(int node) {
  return "DYN_NODE_" + std::to_string(node);
}
std::string node_address(int node) {
  const std::string variable = node_variable(node);
  return "${" + variable + ":?the address of node " + std::to_string(node) + "}";
}

int port_of(const Placed& worker, bool many_nodes) {
  return many_nodes ? kEnginePort + worker.slot : kEnginePort;
}

std::string url_of(const Placed& worker, bool many_nodes) {
  const std::string host = many_nodes ? "node-" + std::to_string(worker.node) : worker.service;
  return "http://" + host + ':' + std::to_string(port_of(worker, many_nodes));
}

Tree health_check(int port, const char* start_period) {
  const std::string url = "http://localhost:" + std::to_string(port) + "/health";
  return {{"test", {"CMD", "curl", "-fsS", url}},
          {"interval", "10s"},
          {"timeout", "5s"},
          {"retries", 6},
          {"start_period", start_period}};
}

void add_gpus(Tree& service, const Plan& plan, const Placed& worker) {
  const std::string& vendor = plan.profile.device.vendor;
  if (vendor == "amd") {
    service["devices"] = {"/dev/kfd", "/dev/dri"};
    service["group_add"] = {"video", "render"};
  }
  Tree ids = Tree::array();
  std::string list;
  for (int i = 0; i < worker.pool->layout.gpus(); ++i) {
    ids.push_back(std::to_string(worker.first_gpu + i));
    list += (list.empty() ? "" : ",") + std::to_string(worker.first_gpu + i);
  }
  if (vendor == "amd") {
    service["environment"]["HIP_VISIBLE_DEVICES"] = list;
  } else if (vendor == "nvidia") {
    Tree device{{"driver", "nvidia"}, {"device_ids", ids}, {"capabilities", {"gpu"}}};
    service["deploy"]["resources"]["reservations"]["devices"] = Tree::array({std::move(device)});
  }
}

Tree engine_service(const Plan& plan, const Placed& worker, bool many_nodes) {
  const int port = port_of(worker, many_nodes);
  const EngineLaunch launch = launch_of(plan, *worker.pool, port);
  Tree service;
  service["image"] = launch.image;
  service["entrypoint"] = launch.command;
  service["command"] = launch.arguments;
  service["environment"] = Tree::object();
  service["environment"]["HF_TOKEN"] = "${HF_TOKEN:-}";
  for (const auto& [key, value] : launch.environment) {
    service["environment"][key] = value;
  }
  if (worker.pool->role != WorkerRole::aggregated) {
    const int channel = kSideChannelPort + (many_nodes ? 16 * worker.slot : 0);
    service["environment"]["VLLM_NIXL_SIDE_CHANNEL_HOST"] =
        many_nodes ? node_address(worker.node) : worker.service;
    service["environment"]["VLLM_NIXL_SIDE_CHANNEL_PORT"] = std::to_string(channel);
  }
  add_gpus(service, plan, worker);
  service["ipc"] = "host";
  service["volumes"] = {"${HF_HOME:-${HOME}/.cache/huggingface}:/root/.cache/huggingface"};
  service["security_opt"] = {"no-new-privileges:true"};
  if (many_nodes) {
    service["network_mode"] = "host";
  }
  service["healthcheck"] = health_check(port, "30m");
  service["restart"] = "unless-stopped";
  return service;
}

Tree frontend_service(const std::vector<Placed>& workers, int nodes) {
  const bool many_nodes = nodes > 1;
  Tree service;
  service["image"] = frontend_image();
  service["command"] = {"serve",  "/etc/dyn/plan.json",         "--host", "0.0.0.0",
                        "--port", std::to_string(kFrontendPort)};
  service["volumes"] = {"./plan.json:/etc/dyn/plan.json:ro"};
  service["read_only"] = true;
  service["cap_drop"] = {"ALL"};
  service["security_opt"] = {"no-new-privileges:true"};
  if (many_nodes) {
    service["network_mode"] = "host";
    Tree hosts = Tree::array();
    for (int node = 0; node < nodes; ++node) {
      hosts.push_back("node-" + std::to_string(node) + '=' + node_address(node));
    }
    service["extra_hosts"] = std::move(hosts);
  } else {
    const std::string port = std::to_string(kFrontendPort);
    service["ports"] = {port + ':' + port};
    for (const Placed& worker : workers) {
      service["depends_on"][worker.service] = {{"condition", "service_healthy"}};
    }
  }
  service["restart"] = "unless-stopped";
  return service;
}

std::string start_text(const std::string& file, int nodes) {
  std::string text = "Start: ";
  for (int node = 0; node < (nodes > 1 ? nodes : 0); ++node) {
    text += node_variable(node) + "=<address> ";
  }
  return text + "docker compose -f " + file + " up -d";
}

}  // namespace

std::vector<EmittedFile> emit_compose(const Plan& plan) {
  int nodes = 0;
  const std::vector<Placed> workers = place(plan, nodes);
  const bool many_nodes = nodes > 1;
  EngineUrls urls(plan.pools.size());
  for (const Placed& worker : workers) {
    urls[static_cast<std::size_t>(worker.pool - plan.pools.data())].push_back(
        url_of(worker, many_nodes));
  }
  std::vector<EmittedFile> files;
  for (int node = 0; node < nodes; ++node) {
    const std::string file =
        many_nodes ? "compose.node" + std::to_string(node) + ".yaml" : "compose.yaml";
    Tree tree;
    tree["name"] = "dyn";
    for (const Placed& worker : workers) {
      if (worker.node == node) {
        tree["services"][worker.service] = engine_service(plan, worker, many_nodes);
      }
    }
    if (node == 0) {
      tree["services"]["frontend"] = frontend_service(workers, nodes);
    }
    files.push_back({file, to_yaml(tree, manifest_comment(plan, start_text(file, nodes)))});
  }
  files.push_back({"plan.json", to_json(with_engines(plan, urls))});
  return files;
}

}  // namespace dyn::configurator
