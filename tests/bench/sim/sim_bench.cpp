// How fast workloads are read and fleets simulated. The Mooncake trace is the public one where it
// is at hand, else a made one of the same size.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <thread>
#include <vector>

#include "../../unit/sim/fleets.h"
#include "dyn/core/catalogue.h"
#include "dyn/perf/builtin_profiles.h"
#include "dyn/sim/event_queue.h"
#include "paths.h"

namespace dyn::sim {
namespace {

using test::Fleet;

std::string conversation_path() {
  const auto path = dyn::test::reference_data("traces/conversation_trace.jsonl");
  if (std::filesystem::exists(path)) {
    return path.string();
  }
  const auto made = std::filesystem::temp_directory_path() / "dyn_bench_conversation.jsonl";
  std::ofstream(made) << to_mooncake(make_conversation(12'031, std::chrono::seconds(3537), 1));
  return made.string();
}

const Workload& conversation() {
  static const Workload workload = load_trace(conversation_path(), Traffic{}, 1);
  return workload;
}

/// Qwen3-32B in FP8 with TP 2 on H200, as the recipes deploy it, context extended for the trace.
Plan qwen_plan(int workers, RouterKind router) {
  Plan plan;
  plan.model = find_model("Qwen/Qwen3-32B");
  plan.weights = Precision::fp8;
  plan.profile = perf::builtin_profile("h200");
  plan.router.kind = router;
  plan.router.max_queued_per_worker = 1'000'000;
  plan.pools = {test::pool(WorkerRole::aggregated, workers)};
  plan.pools[0].layout.tensor = 2;
  plan.pools[0].config.kv_blocks = 100'000;
  return plan;
}

void run_plan(benchmark::State& state, const Plan& plan, const Workload& workload) {
  SimulationSpec spec;
  spec.plan = &plan;
  spec.timers = compile_timers(plan);
  SimulationResult result;
  for (auto _ : state) {
    result = simulate(spec, workload);
    benchmark::DoNotOptimize(result.fingerprint);
  }
  state.counters["requests"] = static_cast<double>(result.records.size());
  state.counters["events"] = static_cast<double>(result.events);
  state.counters["steps"] = static_cast<double>(result.steps);
  double cached = 0;
  for (const RequestRecord& record : result.records) {
    cached += static_cast<double>(record.cached_tokens);
  }
  state.counters["cached"] = cached;
  state.counters["itl_ms"] = test::mean_of(result.report, "inter_token_latency");
  state.counters["ttft_ms"] = test::mean_of(result.report, "time_to_first_token");
  state.counters["steps/s"] = benchmark::Counter(static_cast<double>(result.steps),
                                                 benchmark::Counter::kIsIterationInvariantRate);
}

void read_trace(benchmark::State& state) {
  const std::string path = conversation_path();
  for (auto _ : state) {
    benchmark::DoNotOptimize(load_trace(path, Traffic{}, 1));
  }
}
BENCHMARK(read_trace)->Unit(benchmark::kMillisecond);

void conversation_on_workers(benchmark::State& state) {
  run_plan(state, qwen_plan(static_cast<int>(state.range(0)), RouterKind::kv_aware),
           conversation());
}
BENCHMARK(conversation_on_workers)->Arg(1)->Arg(4)->Arg(8)->Arg(16)->Unit(benchmark::kMillisecond);

void conversation_round_robin(benchmark::State& state) {
  run_plan(state, qwen_plan(8, RouterKind::round_robin), conversation());
}
BENCHMARK(conversation_round_robin)->Unit(benchmark::kMillisecond);

void conversation_disaggregated(benchmark::State& state) {
  Plan plan = qwen_plan(4, RouterKind::kv_aware);
  plan.pools = {plan.pools[0], plan.pools[0]};
  plan.pools[0].role = WorkerRole::prefill;
  plan.pools[1].role = WorkerRole::decode;
  plan.transfer = {BytesPerSec(50e9), std::chrono::microseconds(100), Bytes(262'144)};
  run_plan(state, plan, conversation());
}
BENCHMARK(conversation_disaggregated)->Unit(benchmark::kMillisecond);

void dense_closed_loop(benchmark::State& state) {
  Traffic traffic;
  traffic.isl = Tokens(1024);
  traffic.osl = Tokens(128);
  traffic.concurrency = 64;
  traffic.requests = 131'072;
  traffic.lengths = LengthDistribution::uniform;
  traffic.length_spread = 0.1;
  run_plan(state, qwen_plan(1, RouterKind::round_robin), make_synthetic(traffic, 1));
}
BENCHMARK(dense_closed_loop)->Unit(benchmark::kMillisecond)->Iterations(1);

/// 64 simulations at once, on as many threads; `efficiency` is the share of the cores' time that
/// was put to use, compared with one after another.
void simulations_in_parallel(benchmark::State& state) {
  const Plan plan = qwen_plan(4, RouterKind::kv_aware);
  SimulationSpec spec;
  spec.plan = &plan;
  spec.timers = compile_timers(plan);
  const auto seconds_on = [&](unsigned threads) {
    std::atomic<int> next = 0;
    std::vector<std::thread> team;
    const auto start = std::chrono::steady_clock::now();
    for (unsigned t = 0; t < threads; ++t) {
      team.emplace_back([&] {
        while (next++ < 64) {
          benchmark::DoNotOptimize(simulate(spec, conversation()).fingerprint);
        }
      });
    }
    for (std::thread& thread : team) {
      thread.join();
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  conversation();
  const unsigned threads = std::max(1U, std::thread::hardware_concurrency());
  std::vector<double> efficiencies;
  for (auto _ : state) {
    const double alone = seconds_on(1);
    efficiencies.push_back(alone / seconds_on(threads) / threads);
  }
  std::sort(efficiencies.begin(), efficiencies.end());
  state.counters["threads"] = threads;
  state.counters["efficiency"] = efficiencies[efficiencies.size() / 2];
}
BENCHMARK(simulations_in_parallel)->Unit(benchmark::kMillisecond)->UseRealTime()->Iterations(3);

void hold_events(benchmark::State& state) {
  EventQueue queue;
  std::uint64_t random = 1;
  const auto delay = [&] {
    random = random * 6364136223846793005u + 1442695040888963407u;
    return Duration(static_cast<std::int64_t>(random >> 44));
  };
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    queue.push(SimTime(delay()), Phase::engine, EventKind::engine_due, 0);
  }
  for (auto _ : state) {
    const Event event = queue.pop();
    queue.push(event.at + delay(), Phase::engine, EventKind::engine_due, event.target);
  }
}
BENCHMARK(hold_events)->Arg(64)->Arg(1024)->Arg(262'144);

}  // namespace
}  // namespace dyn::sim
