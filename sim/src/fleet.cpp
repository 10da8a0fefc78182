#include "fleet.h"

#include <fmt/format.h>

#include <algorithm>

#include "dyn/core/check.h"
#include "dyn/core/error.h"
#include "dyn/core/random.h"
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

Pool make_pool(const SimulationSpec& spec, const PoolSpec& pool, std::uint32_t first_engine) {
  const Plan& plan = *spec.plan;
  const auto engines = static_cast<std::uint32_t>(pool.replicas * pool.layout.data);
  const bool chooses_by_kv = plan.router.kind == RouterKind::kv_aware && engines > 1;
  policy::RouterOptions options;
  options.config = policy::router_config(plan.router, pool.role);
  options.workers = engines;
  options.block_size = pool.config.block_size;
  options.seed = RandomStream(spec.seed, std::string("router/") + name_of(pool.role)).next();
  return {pool.role,
          first_engine,
          engines,
          static_cast<std::uint32_t>(pool.layout.data),
          pool.config.block_size,
          chooses_by_kv && pool.role != WorkerRole::prefill,
          chooses_by_kv && pool.role != WorkerRole::decode,
          policy::Router(options)};
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

Pool* Fleet::pool(WorkerRole role) {
  for (Pool& pool : pools) {
    if (pool.role == role) {
      return &pool;
    }
  }
  return nullptr;
}

Fleet make_fleet(const SimulationSpec& spec) {
  check_plan(spec);
  Fleet fleet;
  for (std::size_t i = 0; i < spec.plan->pools.size(); ++i) {
    const PoolSpec& from = spec.plan->pools[i];
    fleet.pools.push_back(make_pool(spec, from, static_cast<std::uint32_t>(fleet.engines.size())));
    const Pool& pool = fleet.pools.back();
    const engine::EngineOptions options{from.config, from.role, spec.stepping, pool.publishes_kv};
    for (std::uint32_t rank = 0; rank < pool.engines; ++rank) {
      const bool further = rank % pool.ranks_per_worker != 0;
      EngineSlot slot{further ? fleet.engines.back().engine.another_rank(options)
                              : engine::Engine(options, spec.timers[i])};
      slot.pool = static_cast<std::uint32_t>(i);
      slot.rank = rank;
      fleet.engines.push_back(std::move(slot));
    }
  }
  DYN_ASSERT(fleet.engines.size() <= 0xffff, "an event's lane names the engine in 16 bits");
  return fleet;
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
  out.priority = workload.priority_of(request);
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

std::vector<std::shared_ptr<const perf::StepTimer>> compile_timers(const Plan& plan) {
  std::vector<std::shared_ptr<const perf::StepTimer>> timers;
  for (const PoolSpec& pool : plan.pools) {
    timers.push_back(perf::step_timer(plan, pool));
  }
  return timers;
}

}  // namespace dyn::sim
