#include <algorithm>
#include <string_view>

#include "dyn/core/document.h"
#include "dyn/core/schemas.h"

namespace dyn {
namespace {

/// `http://host:port` with an optional path.
bool is_base_url(std::string_view url) {
  constexpr std::string_view kScheme = "http://";
  if (!url.starts_with(kScheme)) {
    return false;
  }
  const std::string_view rest = url.substr(kScheme.size());
  return !rest.empty() && rest[0] != '/' && rest[0] != ':' &&
         rest.find_first_of(" \t\"<>?#") == std::string_view::npos;
}

void check_pool(const PoolSpec& pool, Checker& checker) {
  const EngineTarget& engine = pool.engine;
  if (engine.kind == EngineKind::openai &&
      engine.url.size() != static_cast<std::size_t>(pool.replicas)) {
    checker.error("engine",
                  "an openai engine needs one url per replica: " + std::to_string(pool.replicas) +
                      " replicas, " + std::to_string(engine.url.size()) + " urls",
                  "such as url: [\"http://127.0.0.1:8000\"]");
  }
  if (engine.kind == EngineKind::simulated && !pool.config.kv_blocks) {
    checker.error("config", "missing key 'kv_blocks'",
                  "a simulated engine needs the number of its KV blocks");
  }
  if (engine.kind == EngineKind::simulated && pool.config.speculation &&
      !pool.config.speculation->acceptance_length) {
    checker.error("config", "missing key 'speculation.acceptance_length'",
                  "a simulated engine needs to know how many tokens a step makes");
  }
  if (engine.kind == EngineKind::simulated && !pool.config.max_model_len) {
    checker.error("config", "missing key 'max_model_len'",
                  "a simulated engine needs the longest request that it takes, in tokens");
  }
}

void check_pools(const Plan& plan, Checker& checker) {
  const auto count = [&](WorkerRole role) {
    return std::count_if(plan.pools.begin(), plan.pools.end(),
                         [role](const PoolSpec& pool) { return pool.role == role; });
  };
  const bool aggregated = plan.pools.size() == 1 && count(WorkerRole::aggregated) == 1;
  const bool disaggregated =
      plan.pools.size() == 2 && count(WorkerRole::prefill) == 1 && count(WorkerRole::decode) == 1;
  if (!aggregated && !disaggregated) {
    std::string roles;
    for (const PoolSpec& pool : plan.pools) {
      roles += (roles.empty() ? "" : ", ") + enum_text(pool.role);
    }
    checker.error("pools",
                  "expected one aggregated pool, or one prefill and one decode pool; got " +
                      (roles.empty() ? "none" : roles));
    return;
  }
  for (std::size_t i = 0; i < plan.pools.size(); ++i) {
    if (plan.pools[i].layout.pipeline > plan.model.layers) {
      checker.error("pools", i, "more pipeline stages than the model has layers");
    }
  }
  if (disaggregated && plan.pools[0].engine.kind != plan.pools[1].engine.kind) {
    checker.error("pools", "prefill and decode pools need engines of one kind",
                  "a simulated engine has no KV cache to hand over to a real one");
  }
  for (const PoolSpec& pool : plan.pools) {
    const bool modelled =
        pool.engine.kind == EngineKind::simulated && pool.timing.kind == TimingKind::model;
    if (plan.profile.name.empty() && !pool.profile && modelled) {
      checker.error("profile", "missing key 'profile'",
                    "the latency model needs the device that a pool runs on");
      return;
    }
  }
  const bool given_device = !plan.profile.name.empty();
  const bool simulated = plan.pools[0].engine.kind == EngineKind::simulated;
  if (disaggregated && given_device && simulated && plan.transfer.bandwidth.count() <= 0 &&
      plan.profile.device.inter_node.count() <= 0 && !plan.network.inter_node) {
    checker.error("transfer", "a disaggregated plan needs the bandwidth of the KV transfer",
                  "such as bandwidth: 50 GB/s");
  }
}

}  // namespace

void describe(ObjectSchema<Estimate>& s) {
  s.about("estimate", "A prediction with its 90 % interval.");
  s.field("value", &Estimate::value, "The prediction.").required();
  s.field("low", &Estimate::low, "Lower end of the interval.").required();
  s.field("high", &Estimate::high, "Upper end of the interval.").required();
  s.field("provenance", &Estimate::provenance, "Worst provenance of what it was made from.");
}

void describe(ObjectSchema<ParallelLayout>& s) {
  s.about("layout",
          "How one worker spreads the model over its GPUs: tensor * pipeline * data of them.");
  s.field("tensor", &ParallelLayout::tensor, "GPUs that share each matrix multiply.")
      .between(1, 65'536);
  s.field("pipeline", &ParallelLayout::pipeline, "Pipeline stages.").between(1, 65'536);
  s.field("data", &ParallelLayout::data, "Ranks with a scheduler and a KV cache each.")
      .between(1, 65'536);
  s.field("expert", &ParallelLayout::expert,
          "GPUs over which whole experts are spread; divides tensor * data.")
      .between(1, 65'536);
  s.check([](const ParallelLayout& layout, Checker& checker) {
    const std::int64_t group = std::int64_t{layout.tensor} * layout.data;
    if (group % layout.expert != 0) {
      checker.error("expert", "expert must divide tensor * data (" + std::to_string(group) + ")");
    }
    if (group * layout.pipeline > 1'000'000) {
      checker.error("tensor", "a worker of " + std::to_string(group) + " * " +
                                  std::to_string(layout.pipeline) + " GPUs");
    }
  });
}

void describe(ObjectSchema<EngineTarget>& s) {
  s.about("engine_target", "Where the engine behind a worker is.");
  s.field("kind", &EngineTarget::kind, "What the engine is.").because("it needs no GPU");
  s.field("url", &EngineTarget::url, "Base URL of each replica (openai).")
      .brief()
      .example("[\"http://127.0.0.1:8000\"]");
  s.field("connect_timeout", &EngineTarget::connect_timeout, "Longest wait for a connection.")
      .above(Duration{0})
      .because("a running server accepts at once");
  s.field("first_token_timeout", &EngineTarget::first_token_timeout,
          "Longest wait for the first token.")
      .above(Duration{0})
      .because("long prompts queue behind each other");
  s.field("token_timeout", &EngineTarget::token_timeout, "Longest gap within a stream.")
      .above(Duration{0})
      .because("a stalled engine must not hold a client for ever");
  s.check([](const EngineTarget& engine, Checker& checker) {
    if (engine.kind == EngineKind::simulated && !engine.url.empty()) {
      checker.error("url", "a simulated engine has no url", "write kind: openai");
    }
    for (std::size_t i = 0; i < engine.url.size(); ++i) {
      if (!is_base_url(engine.url[i])) {
        checker.error(
            "url", i,
            "expected a URL such as \"http://127.0.0.1:8000\", got \"" + engine.url[i] + '"',
            engine.url[i].starts_with("https://")
                ? "https is not supported here; put a proxy that speaks it before the engine"
                : "");
      }
    }
  });
}

void describe(ObjectSchema<PoolSpec>& s) {
  s.about("pool", "Equal workers.");
  s.field("role", &PoolSpec::role, "What they do.").required();
  s.field("replicas", &PoolSpec::replicas, "How many workers.").required().between(1, 100'000);
  s.field("layout", &PoolSpec::layout, "The GPUs of each.");
  s.field("config", &PoolSpec::config, "Limits of each engine.");
  s.field("engine", &PoolSpec::engine, "Where the engines are.");
  s.field("timing", &PoolSpec::timing, "Where step times come from (simulated).").brief();
  s.field("profile", &PoolSpec::profile, "The device of these workers.")
      .brief()
      .unset("the plan's profile");
  s.check(check_pool);
}

void describe(ObjectSchema<TransferSpec>& s) {
  s.about("transfer", "The path that KV blocks take from a prefill worker to a decode worker.");
  s.field("bandwidth", &TransferSpec::bandwidth,
          "Of a worker's port, each way, in place of the network's links; 0: as these are.")
      .at_least(BytesPerSec(0));
  s.field("latency", &TransferSpec::latency, "Of a transfer over such a port.")
      .at_least(Duration{0});
  s.field("bytes_per_token", &TransferSpec::bytes_per_token,
          "Of the KV cache of all layers that keep the whole context. Sliding windows and linear "
          "states, of constant size, are sent in proportion to it.")
      .at_least(Bytes(0));
}

void describe(ObjectSchema<PlannedMetric>& s) {
  s.about("planned_metric",
          "A predicted figure, kept so that what is served can be checked against it.");
  s.field("name", &PlannedMetric::name,
          "Report tag and statistic, such as time_to_first_token.p99.")
      .required()
      .not_empty();
  s.field("unit", &PlannedMetric::unit, "Unit of the figures.").required();
  s.field("estimate", &PlannedMetric::estimate, "The prediction.").required();
}

void describe(ObjectSchema<Plan>& s) {
  s.about("plan",
          "A deployment, written down. Self-contained: it carries the model and the device "
          "profile that it was priced with.");
  s.field("name", &Plan::name, "Name of the deployment.").required().not_empty();
  s.field("model", &Plan::model, "The model that is served.").required();
  s.field("weights", &Plan::weights, "How the weights are stored.").required();
  s.field("kv_cache", &Plan::kv_cache, "How the KV cache is stored.").required();
  s.field("pools", &Plan::pools, "One aggregated pool, or one prefill and one decode pool.")
      .required();
  s.field("encode", &Plan::encode, "Workers that encode images.")
      .brief()
      .unset("who computes a prompt encodes its images");
  s.field("router", &Plan::router, "How requests are spread over workers.");
  s.field("transfer", &Plan::transfer, "How KV blocks get from prefill to decode workers.");
  s.field("network", &Plan::network, "The links between GPUs, hosts and nodes.").brief();
  s.field("disaggregation", &Plan::disaggregation, "How prompts are handed over.").brief();
  s.field("autoscaler", &Plan::autoscaler, "How the pools grow and shrink.").brief();
  s.field("kv_tiers", &Plan::kv_tiers, "Where KV blocks go beyond the device's memory.").brief();
  s.field("slo", &Plan::slo, "The latency targets that it was chosen under.");
  s.field("seed", &Plan::seed, "Seed of the router's random streams.");
  s.field("predicted", &Plan::predicted, "The figures that were predicted for it.").brief();
  s.field("profile", &Plan::profile,
          "The device that it was priced with. Only a plan whose step times are given has none.")
      .brief();
  s.check(check_pools);
}

const DocumentSchema& plan_schema() {
  static const DocumentSchema schema = document_schema<Plan>(
      "dyn.plan", 1, "Plans",
      "A plan is a deployment written down: `dyn plan` makes one of a result, `dyn serve` runs it, "
      "and the emitters turn it into manifests.");
  return schema;
}

Plan parse_plan(const Document& document) {
  Plan plan;
  read_document(plan_schema(), document, &plan);
  return plan;
}

Plan load_plan(const std::string& path) {
  Plan plan;
  load_document(plan_schema(), path, &plan);
  return plan;
}

std::string to_json(const Plan& plan) {
  return write_document(plan_schema(), &plan);
}

int Plan::gpus() const {
  int total = encode ? encode->gpus() : 0;
  for (const PoolSpec& spec : pools) {
    total += spec.replicas * spec.layout.gpus();
  }
  return total;
}

const PoolSpec* Plan::pool(WorkerRole role) const {
  const auto found = std::find_if(pools.begin(), pools.end(),
                                  [role](const PoolSpec& spec) { return spec.role == role; });
  return found == pools.end() ? nullptr : &*found;
}

}  // namespace dyn
