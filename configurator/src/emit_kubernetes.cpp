#include "dyn/configurator/emit.h"
#include "dyn/core/error.h"
#include "emit_targets.h"
#include "manifest.h"

namespace dyn::configurator {
namespace {

constexpr int kFrontendPort = 8000;
constexpr int kEnginePort = 8100;
constexpr int kSideChannelPort = 5600;

Tree labels(const std::string& component) {
  return {{"app.kubernetes.io/name", "dyn"},
          {"app.kubernetes.io/component", component},
          {"app.kubernetes.io/managed-by", "dyn"}};
}

Tree object(const char* api, const char* kind, const std::string& name) {
  return {{"apiVersion", api},
          {"kind", kind},
          {"metadata", {{"name", name}, {"labels", labels(name)}}}};
}

Tree selector(const std::string& name) {
  return {{"app.kubernetes.io/name", "dyn"}, {"app.kubernetes.io/component", name}};
}

Tree probe(const char* path, int port, int period, int failures) {
  return {{"httpGet", {{"path", path}, {"port", port}}},
          {"periodSeconds", period},
          {"timeoutSeconds", 5},
          {"failureThreshold", failures}};
}

Tree variable(const std::string& name, const std::string& value) {
  return {{"name", name}, {"value", value}};
}

Tree environment(const PoolSpec& pool, const EngineLaunch& launch) {
  Tree list = Tree::array();
  Tree token{{"name", "HF_TOKEN"}};
  token["valueFrom"]["secretKeyRef"] = {{"name", "hf-token"}, {"key", "token"}, {"optional", true}};
  list.push_back(std::move(token));
  for (const auto& [name, value] : launch.environment) {
    list.push_back(variable(name, value));
  }
  if (pool.role != WorkerRole::aggregated) {
    Tree address{{"name", "VLLM_NIXL_SIDE_CHANNEL_HOST"}};
    address["valueFrom"]["fieldRef"] = {{"fieldPath", "status.podIP"}};
    list.push_back(std::move(address));
    list.push_back(variable("VLLM_NIXL_SIDE_CHANNEL_PORT", std::to_string(kSideChannelPort)));
  }
  return list;
}

/// Engines run as their image's user, without more rights than the device plug-in gives.
Tree engine_security() {
  return {{"allowPrivilegeEscalation", false},
          {"capabilities", {{"drop", {"ALL"}}}},
          {"seccompProfile", {{"type", "RuntimeDefault"}}}};
}

Tree frontend_security() {
  return {{"allowPrivilegeEscalation", false},
          {"readOnlyRootFilesystem", true},
          {"runAsNonRoot", true},
          {"runAsUser", 65534},
          {"capabilities", {{"drop", {"ALL"}}}},
          {"seccompProfile", {{"type", "RuntimeDefault"}}}};
}

Tree named(const char* name, const char* mount) {
  return {{"name", name}, {"mountPath", mount}};
}

Tree engine_container(const Plan& plan, const PoolSpec& pool) {
  const EngineLaunch launch = launch_of(plan, pool, kEnginePort);
  Tree container;
  container["name"] = "engine";
  container["image"] = launch.image;
  container["command"] = launch.command;
  container["args"] = launch.arguments;
  container["env"] = environment(pool, launch);
  container["ports"] = Tree::array({Tree{{"name", "http"}, {"containerPort", kEnginePort}}});
  const std::string& vendor = plan.profile.device.vendor;
  if (vendor != "cpu") {
    const std::string resource = vendor + ".com/gpu";
    container["resources"]["requests"][resource] = launch.gpus;
    container["resources"]["limits"][resource] = launch.gpus;
  }
  // Weights may take half an hour to arrive; only then do the other probes begin.
  container["startupProbe"] = probe("/health", kEnginePort, 10, 180);
  container["readinessProbe"] = probe("/health", kEnginePort, 5, 3);
  container["livenessProbe"] = probe("/health", kEnginePort, 10, 6);
  container["securityContext"] = engine_security();
  container["volumeMounts"] = {named("cache", "/root/.cache/huggingface"),
                               named("shm", "/dev/shm")};
  return container;
}

Tree engine_set(const Plan& plan, const PoolSpec& pool) {
  const std::string name = pool_name(pool);
  Tree set = object("apps/v1", "StatefulSet", name);
  Tree pod;
  if (plan.profile.device.vendor != "cpu") {
    pod["tolerations"] = Tree::array({Tree{{"key", plan.profile.device.vendor + ".com/gpu"},
                                           {"operator", "Exists"},
                                           {"effect", "NoSchedule"}}});
  }
  pod["automountServiceAccountToken"] = false;
  pod["terminationGracePeriodSeconds"] = 120;
  pod["containers"] = Tree::array({engine_container(plan, pool)});
  Tree shared_memory{{"name", "shm"}};
  shared_memory["emptyDir"] = {{"medium", "Memory"}, {"sizeLimit", "16Gi"}};
  Tree cache{{"name", "cache"}};
  cache["emptyDir"] = Tree::object();
  pod["volumes"] = Tree::array({std::move(cache), std::move(shared_memory)});
  set["spec"]["serviceName"] = name;
  set["spec"]["replicas"] = pool.replicas;
  set["spec"]["podManagementPolicy"] = "Parallel";
  set["spec"]["selector"]["matchLabels"] = selector(name);
  set["spec"]["template"]["metadata"]["labels"] = labels(name);
  set["spec"]["template"]["spec"] = std::move(pod);
  return set;
}

/// Gives every engine a name of its own, so that the router can choose one.
Tree engine_names(const PoolSpec& pool) {
  const std::string name = pool_name(pool);
  Tree service = object("v1", "Service", name);
  service["spec"]["clusterIP"] = "None";
  service["spec"]["publishNotReadyAddresses"] = true;
  service["spec"]["selector"] = selector(name);
  service["spec"]["ports"] = Tree::array({Tree{{"name", "http"}, {"port", kEnginePort}}});
  return service;
}

Tree frontend_deployment() {
  const std::string name = "frontend";
  Tree deployment = object("apps/v1", "Deployment", name);
  Tree container;
  container["name"] = "dyn";
  container["image"] = frontend_image();
  container["args"] = {"serve",  "/etc/dyn/plan.json",         "--host", "0.0.0.0",
                       "--port", std::to_string(kFrontendPort)};
  container["ports"] = Tree::array({Tree{{"name", "http"}, {"containerPort", kFrontendPort}}});
  container["resources"]["requests"] = {{"cpu", "1"}, {"memory", "512Mi"}};
  container["resources"]["limits"] = {{"memory", "2Gi"}};
  container["readinessProbe"] = probe("/health", kFrontendPort, 5, 3);
  container["livenessProbe"] = probe("/live", kFrontendPort, 10, 3);
  container["securityContext"] = frontend_security();
  Tree mount = named("plan", "/etc/dyn");
  mount["readOnly"] = true;
  container["volumeMounts"] = Tree::array({std::move(mount)});
  Tree pod;
  pod["automountServiceAccountToken"] = false;
  pod["terminationGracePeriodSeconds"] = 60;
  pod["containers"] = Tree::array({std::move(container)});
  Tree volume{{"name", "plan"}};
  volume["configMap"]["name"] = "dyn-plan";
  pod["volumes"] = Tree::array({std::move(volume)});
  deployment["spec"]["replicas"] = 1;
  deployment["spec"]["selector"]["matchLabels"] = selector(name);
  deployment["spec"]["template"]["metadata"]["labels"] = labels(name);
  deployment["spec"]["template"]["spec"] = std::move(pod);
  return deployment;
}

Tree frontend_name() {
  Tree service = object("v1", "Service", "frontend");
  service["spec"]["selector"] = selector("frontend");
  Tree port{{"name", "http"}, {"port", kFrontendPort}};
  port["targetPort"] = "http";
  service["spec"]["ports"] = Tree::array({std::move(port)});
  return service;
}

EngineUrls urls_of(const Plan& plan) {
  EngineUrls urls;
  for (const PoolSpec& pool : plan.pools) {
    const std::string name = pool_name(pool);
    urls.emplace_back();
    for (int i = 0; i < pool.replicas; ++i) {
      urls.back().push_back("http://" + name + '-' + std::to_string(i) + '.' + name + ':' +
                            std::to_string(kEnginePort));
    }
  }
  return urls;
}

Tree plan_map(const Plan& plan, const EngineUrls& urls) {
  Tree map = object("v1", "ConfigMap", "dyn-plan");
  map["data"]["plan.json"] = to_json(with_engines(plan, urls));
  return map;
}

}  // namespace

std::vector<EmittedFile> emit_kubernetes(const Plan& plan) {
  std::vector<Tree> objects;
  for (const PoolSpec& pool : plan.pools) {
    objects.push_back(engine_names(pool));
    objects.push_back(engine_set(plan, pool));
  }
  objects.push_back(plan_map(plan, urls_of(plan)));
  objects.push_back(frontend_name());
  objects.push_back(frontend_deployment());
  std::string text;
  for (const Tree& tree : objects) {
    text += text.empty()
                ? to_yaml(tree, manifest_comment(plan, "Start: kubectl apply -f kubernetes.yaml"))
                : "---\n" + to_yaml(tree, {});
  }
  return {{"kubernetes.yaml", std::move(text)}};
}

EmitTarget parse_emit_target(const std::string& name) {
  if (name == "compose") {
    return EmitTarget::compose;
  }
  if (name == "kubernetes") {
    return EmitTarget::kubernetes;
  }
  const auto meant = nearest(name, {"compose", "kubernetes"});
  throw Error(ErrorKind::usage, "--emit: expected compose or kubernetes, got \"" + name + '"',
              meant ? "did you mean '" + *meant + "'?" : "");
}

std::vector<EmittedFile> emit(const Plan& plan, EmitTarget target) {
  if (plan.encode) {
    throw Error(ErrorKind::bad_input,
                "a plan with encode workers cannot be written as manifests yet",
                "leave deployment.encode out of the recipe: engines then encode images themselves");
  }
  return target == EmitTarget::compose ? emit_compose(plan) : emit_kubernetes(plan);
}

}  // namespace dyn::configurator
