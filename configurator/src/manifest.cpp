#include "manifest.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>

#include "dyn/core/error.h"
#include "dyn/core/version.h"
#include "dyn/perf/engine_host.h"

namespace dyn::configurator {
namespace {

/// The version whose flags are used and whose timings the reference measurements are of.
constexpr const char* kDefaultVllm = "0.19.0";

void write(YAML::Emitter& out, const Tree& tree) {
  if (tree.is_object()) {
    out << (tree.empty() ? YAML::Flow : YAML::Block) << YAML::BeginMap;
    for (const auto& [key, value] : tree.items()) {
      out << YAML::Key << key << YAML::Value;
      write(out, value);
    }
    out << YAML::EndMap;
  } else if (tree.is_array()) {
    out << (tree.empty() ? YAML::Flow : YAML::Block) << YAML::BeginSeq;
    for (const Tree& item : tree) {
      write(out, item);
    }
    out << YAML::EndSeq;
  } else if (tree.is_string()) {
    const auto& text = tree.get_ref<const std::string&>();
    const bool lines = text.find('\n') != std::string::npos;
    out << (lines ? YAML::Literal : YAML::DoubleQuoted) << text;
  } else if (tree.is_boolean()) {
    out << tree.get<bool>();
  } else if (tree.is_number_float()) {
    out << tree.get<double>();
  } else {
    out << tree.get<std::int64_t>();
  }
}

/// Of the image: the version that was planned, else the one that the profile was measured with, so
/// that the prediction is of it.
std::string vllm_version(const Plan& plan) {
  std::string version = plan.pools.front().config.version.value_or("");
  if (const EngineHost* host = perf::engine_host(plan.profile, "vllm", "");
      version.empty() && host) {
    version = host->version;
  }
  if (version.empty() || version.find_first_not_of("0123456789.") != std::string::npos) {
    return kDefaultVllm;
  }
  const auto dots = std::count(version.begin(), version.end(), '.');
  return dots == 1 ? version + ".0" : version;  // images are tagged v0.12.0
}

std::string vllm_image(const Plan& plan) {
  const char* name =
      plan.profile.device.vendor == "amd" ? "vllm/vllm-openai-rocm" : "vllm/vllm-openai";
  return std::string(name) + ":v" + vllm_version(plan);
}

/// On-line quantisation, where the published checkpoint is wider than what was planned.
std::string quantization(const Plan& plan) {
  const bool wide = plan.model.native_weights == Precision::bf16 ||
                    plan.model.native_weights == Precision::fp16 ||
                    plan.model.native_weights == Precision::fp32;
  const bool fp8 = plan.weights == Precision::fp8 || plan.weights == Precision::fp8_block;
  return wide && fp8 ? "fp8" : "";
}

void add_parallelism(const PoolSpec& pool, std::vector<std::string>& args) {
  const auto add = [&](const char* flag, int value) {
    args.insert(args.end(), {flag, std::to_string(value)});
  };
  add("--tensor-parallel-size", pool.layout.tensor);
  if (pool.layout.pipeline > 1) {
    add("--pipeline-parallel-size", pool.layout.pipeline);
  }
  if (pool.layout.data > 1) {
    add("--data-parallel-size", pool.layout.data);
  }
  if (pool.layout.expert > 1) {
    args.emplace_back("--enable-expert-parallel");
  }
}

void add_scheduler(const Plan& plan, const PoolSpec& pool, std::vector<std::string>& args) {
  const EngineConfig& config = pool.config;
  if (config.cache_eviction != EvictionKind::lru) {
    throw Error(ErrorKind::bad_input,
                "vLLM evicts the block not used for longest; it has no other cache_eviction",
                "leave engine.cache_eviction out of the recipe");
  }
  const auto add = [&](const char* flag, const std::string& value) {
    args.insert(args.end(), {flag, value});
  };
  add("--max-num-seqs", std::to_string(config.max_num_seqs));
  add("--max-num-batched-tokens", std::to_string(config.max_num_batched_tokens));
  add("--max-model-len", std::to_string(config.max_model_len.value_or(plan.model.max_context)));
  add("--block-size", std::to_string(config.block_size));
  add("--gpu-memory-utilization", fmt::format("{:g}", config.memory_utilization));
  args.emplace_back(config.prefix_caching ? "--enable-prefix-caching"
                                          : "--no-enable-prefix-caching");
  args.emplace_back(config.chunked_prefill ? "--enable-chunked-prefill"
                                           : "--no-enable-chunked-prefill");
  if (config.hybrid_kv_cache) {
    args.emplace_back(*config.hybrid_kv_cache ? "--no-disable-hybrid-kv-cache-manager"
                                              : "--disable-hybrid-kv-cache-manager");
  }
  if (config.queue == QueuePolicy::priority) {
    add("--scheduling-policy", "priority");
  }
  if (config.speculation) {
    add("--speculative-config",
        fmt::format(R"({{"method":"{}","num_speculative_tokens":{}}})",
                    config.speculation->kind == DraftKind::mtp ? "mtp" : "eagle",
                    config.speculation->draft_tokens));
  }
  if (config.lora) {
    args.emplace_back("--enable-lora");
    add("--max-loras", std::to_string(config.lora->slots));
    add("--max-cpu-loras", std::to_string(config.lora->hosted()));
    add("--max-lora-rank", std::to_string(config.lora->rank));
  }
  if (plan.kv_cache == Precision::fp8) {
    add("--kv-cache-dtype", "fp8");
  }
  if (const std::string method = quantization(plan); !method.empty()) {
    add("--quantization", method);
  }
  if (pool.role != WorkerRole::aggregated) {
    // The role is chosen request by request by whoever routes; NIXL ignores kv_role.
    add("--kv-transfer-config", R"({"kv_connector":"NixlConnector","kv_role":"kv_both"})");
  }
}

/// vLLM's own host cache, whose size is in GiB for all GPUs of a rank.
void add_host_cache(const Plan& plan, const PoolSpec& pool, std::vector<std::string>& args) {
  if (plan.kv_tiers.host && pool.role == WorkerRole::aggregated) {
    const double gib = static_cast<double>(plan.kv_tiers.host->capacity.count()) /
                       (std::int64_t{1} << 30) / pool.layout.data;
    args.insert(args.end(), {"--kv-offloading-backend", "native", "--kv-offloading-size",
                             fmt::format("{:g}", gib)});
  }
}

/// What these manifests leave out of the plan's tiers.
void add_tier_comment(const Plan& plan, std::vector<std::string>& lines) {
  const bool shared = plan.kv_tiers.host && plan.kv_tiers.host->scope == TierScope::shared;
  if (plan.kv_tiers.disk || plan.kv_tiers.object || shared ||
      (!plan.kv_tiers.empty() && plan.pools.size() > 1)) {
    lines.emplace_back(
        "Of the plan's KV tiers only host memory of aggregated workers, each its "
        "own, is set up here.");
  }
}

}  // namespace

std::string to_yaml(const Tree& tree, const std::vector<std::string>& comment) {
  std::string text;
  for (const std::string& line : comment) {
    text += "# " + line + '\n';
  }
  YAML::Emitter out;
  write(out, tree);
  return text + out.c_str() + '\n';
}

const char* pool_name(const PoolSpec& pool) {
  switch (pool.role) {
    case WorkerRole::prefill:
      return "prefill";
    case WorkerRole::decode:
      return "decode";
    case WorkerRole::aggregated:
      break;
  }
  return "worker";
}

EngineLaunch launch_of(const Plan& plan, const PoolSpec& pool, int port) {
  if (plan.profile.name.empty()) {
    throw Error(ErrorKind::infeasible, "manifests need to know the GPU, and this plan has none",
                "give the recipe its 'hardware'");
  }
  if (pool.layout.gpus() > plan.profile.device.gpus_per_node) {
    throw Error(
        ErrorKind::infeasible,
        fmt::format("a {} worker of this plan has {} GPUs, a node {}: manifests are written "
                    "for workers within a node",
                    pool_name(pool), pool.layout.gpus(), plan.profile.device.gpus_per_node),
        "pick a candidate with smaller workers (--pick)");
  }
  EngineLaunch launch;
  launch.image = vllm_image(plan);
  launch.command = {"vllm", "serve"};
  launch.gpus = pool.layout.gpus();
  launch.arguments = {plan.model.name, "--served-model-name", plan.model.name, "--host", "0.0.0.0",
                      "--port",        std::to_string(port)};
  add_parallelism(pool, launch.arguments);
  add_scheduler(plan, pool, launch.arguments);
  add_host_cache(plan, pool, launch.arguments);
  if (pool.config.max_model_len.value_or(0) > plan.model.max_context) {
    launch.environment.emplace_back("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "1");
  }
  return launch;
}

Plan with_engines(const Plan& plan, const EngineUrls& urls) {
  Plan result = plan;
  for (std::size_t i = 0; i < result.pools.size(); ++i) {
    result.pools[i].engine.kind = EngineKind::openai;
    result.pools[i].engine.url = urls[i];
  }
  return result;
}

std::vector<std::string> manifest_comment(const Plan& plan, const std::string& how_to_start) {
  std::vector<std::string> lines{"Written by dyn " + std::string(version()) + " for: " + plan.name,
                                 how_to_start};
  add_tier_comment(plan, lines);
  lines.emplace_back("The front end's image is in no registry: `docker build -t " +
                     frontend_image() + " .` in dyn's source makes it;");
  lines.emplace_back("it must be where it is pulled from before the start.");
  if (plan.pools.size() > 1) {
    lines.emplace_back(
        "vLLM frees the KV of a prompt that no decode engine fetches after "
        "VLLM_NIXL_ABORT_REQUEST_TIMEOUT.");
  }
  for (const PoolSpec& pool : plan.pools) {
    if (pool.config.max_model_len.value_or(0) > plan.model.max_context) {
      lines.emplace_back("The load has requests beyond the model's context of " +
                         std::to_string(plan.model.max_context) +
                         " tokens: give the engine the model's RoPE scaling before relying on "
                         "their answers.");
      break;
    }
  }
  if (plan.weights == Precision::int4 || plan.weights == Precision::fp4 ||
      plan.weights == Precision::mxfp4 || plan.weights == Precision::int8) {
    if (plan.weights != plan.model.native_weights) {
      lines.emplace_back("The plan's weight precision is not that of " + plan.model.name +
                         ": name a checkpoint that is quantised so.");
    }
  }
  return lines;
}

std::string frontend_image() {
  return "dyn:" + std::string(version());
}

}  // namespace dyn::configurator
