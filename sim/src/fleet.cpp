#include "fleet.h"

#include <fmt/format.h>

#include <algorithm>

#include "dyn/core/check.h"
#include "dyn/core/error.h"
#include "dyn/core/random.h"
#include "dyn/engine/deployed_adapters.h"
#include "dyn/perf/given_timing.h"

namespace dyn::sim {
namespace {

constexpr std::size_t kMaxErrors = 5;

const char* name_of(WorkerRole role) {
  switch (role) {
    case WorkerRole::aggregated:
      return "aggregated";
    case WorkerRole::prefill:
      return "prefill";
    case WorkerRole::decode:
      return "decode";
  }
  return "";
}

int most_workers(const Plan& plan, const PoolSpec& pool) {
  return plan.autoscaler.kind == AutoscalerKind::off
             ? pool.replicas
             : std::max(pool.replicas, plan.autoscaler.max_replicas);
}

/// Bytes of one worker's weights.
Bytes weights_of(const Plan& plan) {
  return Bytes(static_cast<std::int64_t>(static_cast<double>(plan.model.parameters()) *
                                         plan.model.bytes_per_weight(plan.weights)));
}

Duration itl_target(const Plan& plan) {
  for (const Slo::Target& target : plan.slo.targets()) {
    if (target.metric == "inter_token_latency") {
      return target.limit;
    }
  }
  return plan.autoscaler.itl;
}

policy::RouterOptions router_options(const SimulationSpec& spec, const PoolSpec& pool,
                                     std::uint32_t engines,
                                     const std::shared_ptr<const perf::StepTimer>& timer) {
  policy::RouterOptions options;
  options.config = policy::router_config(spec.plan->router, pool.role);
  options.role = pool.role;
  options.workers = engines;
  options.block_size = pool.config.block_size;
  options.seed = RandomStream(spec.seed, std::string("router/") + name_of(pool.role)).next();
  options.timer = timer;
  options.step_tokens = pool.config.max_num_batched_tokens;
  options.lora = pool.config.lora;
  return options;
}

Pool make_pool(const SimulationSpec& spec, std::size_t index, const PoolSpec& pool,
               std::uint32_t first_engine) {
  const Plan& plan = *spec.plan;
  const RouterConfig& router = plan.router;
  const int most = most_workers(plan, pool);
  const auto engines = static_cast<std::uint32_t>(most * pool.layout.data);
  const bool aware = router.kind == RouterKind::kv_aware;
  const bool by_events = aware && router.cache_view == CacheView::events;
  const bool decode = pool.role == WorkerRole::decode;
  Pool out(policy::RouterQueue(router.queue_order, static_cast<std::size_t>(router.queue_limit)));
  out.role = pool.role;
  out.first_engine = first_engine;
  out.engines = engines;
  out.ranks_per_worker = static_cast<std::uint32_t>(pool.layout.data);
  out.block_size = pool.config.block_size;
  out.follows_output = aware && engines > 1 && pool.role != WorkerRole::prefill;
  out.publishes_kv = by_events && (decode ? plan.disaggregation.ever_local() : engines > 1);
  out.router_options = router_options(spec, pool, engines, spec.timers[index]);
  out.timer = spec.timers[index];
  out.gpus_per_worker = pool.layout.gpus();
  out.workers.resize(static_cast<std::size_t>(most));
  out.engine_options = {pool.config, pool.role, spec.stepping, out.publishes_kv};
  out.engine_options.reserve_at_once = engine::reserves_at_once(pool);
  out.engine_options.adapter_load = engine::adapter_load_times(plan, pool);
  if (!spec.images.pools.empty()) {
    out.engine_options.image_timer = spec.images.pools[index];
  }
  out.engine_options.groups = engine::cache_groups(plan, pool);
  out.weights = weights_of(plan);
  for (auto worker = static_cast<std::size_t>(pool.replicas); worker < out.workers.size();
       ++worker) {
    out.workers[worker].life = Life::absent;
  }
  make_routers(out, router.replicas);
  return out;
}

bool nodes_may_be_slow(const SimulationSpec& spec) {
  const auto slow = [](const auto& fault) { return fault.kind == FaultKind::slow_node; };
  return spec.faults != nullptr &&
         (std::any_of(spec.faults->schedule.begin(), spec.faults->schedule.end(), slow) ||
          std::any_of(spec.faults->rates.begin(), spec.faults->rates.end(), slow));
}

std::shared_ptr<const perf::StepTimer> timer_of(const Pool& pool, const EngineSlot& slot) {
  return slot.throttle ? std::static_pointer_cast<const perf::StepTimer>(slot.throttle)
                       : pool.timer;
}

/// Adds the engine of a rank. A worker's ranks step together, so that they are slow together.
void add_engine(const SimulationSpec& spec, Fleet& fleet, std::uint32_t index, std::uint32_t rank) {
  const Pool& pool = fleet.pools[index];
  const bool further = rank % pool.ranks_per_worker != 0;
  std::shared_ptr<ThrottledTimer> throttle;
  if (further) {
    throttle = fleet.engines.back().throttle;
  } else if (nodes_may_be_slow(spec)) {
    throttle = std::make_shared<ThrottledTimer>(pool.timer);
  }
  const std::shared_ptr<const perf::StepTimer> timer =
      throttle ? std::static_pointer_cast<const perf::StepTimer>(throttle) : pool.timer;
  EngineSlot slot(further ? fleet.engines.back().engine.another_rank(pool.engine_options)
                          : engine::Engine(pool.engine_options, timer));
  slot.pool = index;
  slot.rank = rank;
  slot.throttle = std::move(throttle);
  if (spec.plan->router.event_loss > 0) {
    slot.losses.emplace_back(spec.seed, "lost_events/" + std::to_string(pool.first_engine + rank));
  }
  fleet.engines.push_back(std::move(slot));
}

void check_plan(const SimulationSpec& spec) {
  DYN_ASSERT(spec.plan != nullptr, "a simulation needs a plan");
  const Plan& plan = *spec.plan;
  DYN_ASSERT(spec.timers.size() == plan.pools.size(), "one timer per pool");
  const bool one = plan.pools.size() == 1 && plan.pool(WorkerRole::aggregated);
  const bool two =
      plan.pools.size() == 2 && plan.pool(WorkerRole::prefill) && plan.pool(WorkerRole::decode);
  DYN_ASSERT(one || two, "one aggregated pool, or one prefill and one decode pool");
  for (const PoolSpec& pool : plan.pools) {
    DYN_ASSERT(pool.replicas > 0 && pool.layout.data > 0, "a pool has workers");
    DYN_ASSERT(pool.config.kv_blocks && pool.config.max_model_len, "engine limits are resolved");
  }
}

std::string explain(const Pool& pool, const engine::EngineRequest& request, std::uint32_t number,
                    engine::errc why) {
  const std::string what = fmt::format("request {} of {} prompt and {} output tokens", number + 1,
                                       request.prompt_tokens, request.max_output_tokens);
  switch (why) {
    case engine::errc::prompt_exceeds_context:
      return fmt::format("{} exceeds the context of the {} engines", what, name_of(pool.role));
    case engine::errc::prompt_exceeds_cache:
      return fmt::format("{} exceeds the KV cache of the {} engines", what, name_of(pool.role));
  }
  return what;
}

}  // namespace

int Pool::count(Life life) const {
  return static_cast<int>(std::count_if(workers.begin(), workers.end(),
                                        [life](const WorkerSlot& w) { return w.life == life; }));
}

Fleet make_fleet(const SimulationSpec& spec) {
  check_plan(spec);
  Fleet fleet;
  for (std::size_t i = 0; i < spec.plan->pools.size(); ++i) {
    const PoolSpec& from = spec.plan->pools[i];
    fleet.pools.push_back(
        make_pool(spec, i, from, static_cast<std::uint32_t>(fleet.engines.size())));
    const Pool& pool = fleet.pools.back();
    for (std::uint32_t rank = 0; rank < pool.engines; ++rank) {
      add_engine(spec, fleet, static_cast<std::uint32_t>(i), rank);
    }
  }
  DYN_ASSERT(fleet.engines.size() <= 0xffff, "an event's lane names the engine in 16 bits");
  return fleet;
}

void make_routers(Pool& pool, int replicas) {
  pool.routers.clear();
  for (int replica = 0; replica < replicas; ++replica) {
    policy::RouterOptions options = pool.router_options;
    options.seed += static_cast<std::uint64_t>(replica);
    pool.routers.emplace_back(options);
    for (std::uint32_t rank = 0; rank < pool.engines; ++rank) {
      if (pool.workers[pool.worker_of(rank)].life != Life::ready) {
        pool.routers.back().set_available(WorkerId(rank), false);
      }
    }
  }
}

policy::Autoscaler make_autoscaler(const Plan& plan, const Pool& pool, Duration weights) {
  const EngineConfig& config = pool.engine_options.config;
  policy::PoolFacts facts;
  facts.worker.timer = pool.timer.get();
  facts.worker.role = pool.role;
  facts.worker.step_tokens = config.max_num_batched_tokens;
  facts.worker.kv_tokens = *config.kv_blocks * config.block_size * pool.ranks_per_worker;
  facts.worker.block_size = config.block_size;
  facts.worker.groups = pool.engine_options.groups;
  facts.worker.groups.window_pool *= pool.ranks_per_worker;
  facts.worker.groups.most_states *= static_cast<int>(pool.ranks_per_worker);
  facts.worker.max_num_seqs = config.max_num_seqs * static_cast<int>(pool.ranks_per_worker);
  facts.worker.itl = itl_target(plan);
  facts.gpus_per_replica = pool.gpus_per_worker;
  facts.cold_start = weights + plan.autoscaler.startup;
  return {plan.autoscaler, facts};
}

engine::Engine make_engine(Fleet& fleet, std::uint32_t index) {
  EngineSlot& slot = fleet.engines[index];
  const Pool& pool = fleet.pools[slot.pool];
  engine::EngineOptions options = pool.engine_options;
  options.tiering = slot.tiering;
  return slot.rank % pool.ranks_per_worker != 0
             ? fleet.engines[index - 1].engine.another_rank(options)
             : engine::Engine(options, timer_of(pool, slot));
}

engine::DeployedNetwork make_network(const SimulationSpec& spec, Fleet& fleet) {
  std::vector<int> workers;
  for (const Pool& pool : fleet.pools) {
    workers.push_back(static_cast<int>(pool.workers.size()));
  }
  engine::DeployedNetwork out = engine::deploy_network(*spec.plan, workers, spec.seed);
  for (EngineSlot& slot : fleet.engines) {
    slot.site = out.sites[slot.pool][slot.rank];
  }
  return out;
}

engine::EngineRequest engine_request(const Pool& pool, const Workload& workload,
                                     std::uint32_t request) {
  const WorkloadRequest& from = workload.requests[request];
  engine::EngineRequest out;
  out.id = RequestId(request);
  out.prompt_tokens = from.input_tokens;
  out.max_output_tokens = pool.role == WorkerRole::prefill ? 1 : from.output_tokens;
  out.blocks = workload.prompt_blocks(from, pool.block_size);
  out.remote_prefill = pool.role == WorkerRole::decode;
  out.adapter = workload.adapter_of(request);
  out.priority = workload.priority_of(request);
  if (pool.engine_options.image_timer) {
    out.images = workload.images_of(request);
  }
  return out;
}

void check_feasible(const Fleet& fleet, const Workload& workload) {
  std::vector<ErrorItem> errors;
  std::size_t impossible = 0;
  for (const Pool& pool : fleet.pools) {
    if (workload.block_tokens % pool.block_size != 0) {
      throw Error(ErrorKind::bad_input,
                  fmt::format("the workload's blocks of {} tokens are no multiple of the engine's "
                              "block size of {}",
                              workload.block_tokens, pool.block_size),
                  "choose a block_size that divides it");
    }
    if (!workload.adapters.empty() && !pool.engine_options.config.lora) {
      throw Error(ErrorKind::bad_input,
                  fmt::format("requests use LoRA adapters, but {} workers have no slots for them",
                              name_of(pool.role)),
                  "give the engine's 'lora', such as lora: {slots: 4}");
    }
    const engine::Engine& engine = fleet.engines[pool.first_engine].engine;
    for (std::uint32_t i = 0; i < workload.requests.size(); ++i) {
      const engine::EngineRequest request = engine_request(pool, workload, i);
      const std::optional<engine::errc> why = engine.why_impossible(request);
      if (why && impossible++ < kMaxErrors) {
        errors.push_back({explain(pool, request, i, *why),
                          {},
                          "raise max_model_len or the memory for the KV cache, or leave the "
                          "request out",
                          {}});
      }
    }
  }
  if (impossible > kMaxErrors) {
    errors.push_back({fmt::format("and {} more requests", impossible - kMaxErrors), {}, {}, {}});
  }
  if (!errors.empty()) {
    throw Error(ErrorKind::infeasible, std::move(errors));
  }
}

ImageTimers compile_image_timers(const Plan& plan, const Workload& workload) {
  ImageTimers out;
  if (workload.images.empty()) {
    return out;
  }
  if (plan.encode) {
    out.encode = perf::encode_timer(plan);
    return out;
  }
  for (const PoolSpec& pool : plan.pools) {
    out.pools.push_back(perf::image_timer(plan, pool));
  }
  return out;
}

std::vector<std::shared_ptr<const perf::StepTimer>> compile_timers(const Plan& plan) {
  std::vector<std::shared_ptr<const perf::StepTimer>> timers;
  for (const PoolSpec& pool : plan.pools) {
    timers.push_back(perf::step_timer(plan, pool));
  }
  return timers;
}

}  // namespace dyn::sim
