// How fast fleets are simulated, in the scenarios of replay_vs_peer.py: one JSON line each.
//   bench_replay [--timer polynomial|model] [--repeats N] [--trace FILE] [SCENARIO ...]
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "../../unit/sim/fleets.h"
#include "dyn/core/catalogue.h"
#include "dyn/perf/builtin_profiles.h"

namespace {

using namespace dyn;
using sim::test::pool;

constexpr int kBlock = 64;
constexpr std::int64_t kBlocks = 16'384;

/// Step times as Dynamo's mocker has them by default, which cost next to nothing to compute.
class PolynomialTimer final : public perf::StepTimer {
 public:
  Duration step_time(const perf::StepBatch& batch) const noexcept override {
    double ms = 0;
    if (batch.prefill_tokens > 0) {
      const auto t = static_cast<double>(batch.prefill_tokens);
      ms += 4.209989e-7 * t * t + 1.518344e-2 * t + 16.50142;
    }
    if (batch.decode_sequences > 0) {
      const double u = static_cast<double>(batch.decode_context) / (kBlock * kBlocks);
      ms += std::max(1.0, -25.74 * u * u + 54.01 * u + 5.74);
    }
    return Duration(static_cast<std::int64_t>(ms * 1e6));
  }
};

struct Scenario {
  std::string name;
  Plan plan;
  std::function<sim::Workload()> workload;
};

struct Options {
  bool model = false;
  int repeats = 3;
  std::string trace = sim::test::reference_data("traces/conversation_trace.jsonl").string();
  std::vector<std::string> wanted;
};

Plan plan_of(std::vector<PoolSpec> pools, RouterKind router) {
  Plan plan;
  plan.model = find_model("Qwen/Qwen3-32B");
  plan.weights = Precision::fp8;
  plan.profile = perf::builtin_profile("h200");
  plan.router.kind = router;
  plan.router.max_queued_per_worker = 1'000'000;
  plan.transfer = {BytesPerSec(50e9), std::chrono::microseconds(100), Bytes(131'072)};
  for (PoolSpec& pool : pools) {
    pool.layout.tensor = 2;
    pool.config.block_size = kBlock;
    pool.config.kv_blocks = kBlocks;
  }
  plan.pools = std::move(pools);
  return plan;
}

Plan aggregated(int replicas, RouterKind router, int ranks = 1) {
  PoolSpec workers = pool(WorkerRole::aggregated, replicas);
  workers.layout.data = ranks;
  return plan_of({workers}, router);
}

std::function<sim::Workload()> synthetic(std::int64_t requests, std::int64_t isl, std::int64_t osl,
                                         int concurrency, double shared = 0, int groups = 1) {
  return [=] {
    Traffic traffic;
    traffic.isl = Tokens(isl);
    traffic.osl = Tokens(osl);
    traffic.requests = requests;
    traffic.concurrency = concurrency;
    traffic.shared_prefix = Tokens(static_cast<std::int64_t>(shared * static_cast<double>(isl)));
    traffic.prefix_groups = groups;
    return sim::make_synthetic(traffic, 1, kBlock);
  };
}

std::vector<Scenario> scenarios(const Options& options) {
  const auto conversation = [path = options.trace] {
    Traffic traffic;
    traffic.spread_ticks = false;
    return sim::load_trace(path, traffic, 1);
  };
  const auto dense = [](std::int64_t requests) { return synthetic(requests, 1024, 128, 64); };
  return {
      {"dense_c64", aggregated(1, RouterKind::round_robin), dense(131'072)},
      {"disagg_1p2d",
       plan_of({pool(WorkerRole::prefill, 1), pool(WorkerRole::decode, 2)},
               RouterKind::round_robin),
       synthetic(50'000, 1024, 128, 64)},
      {"dp8_x2", aggregated(2, RouterKind::round_robin, 8), synthetic(50'000, 1024, 128, 1024)},
      {"kv_router_128", aggregated(128, RouterKind::kv_aware),
       synthetic(20'000, 4096, 64, 4096, 0.5, 64)},
      {"long_100k", aggregated(4, RouterKind::kv_aware),
       synthetic(2'000, 100'000, 400, 32, 0.9, 8)},
      {"conversation_1_round_robin", aggregated(1, RouterKind::round_robin), conversation},
      {"conversation_8_kv_router", aggregated(8, RouterKind::kv_aware), conversation},
      {"dense_1e4", aggregated(1, RouterKind::round_robin), dense(10'000)},
      {"dense_1e5", aggregated(1, RouterKind::round_robin), dense(100'000)},
      {"dense_1e6", aggregated(1, RouterKind::round_robin), dense(1'000'000)},
      {"dense_1e7", aggregated(1, RouterKind::round_robin), dense(10'000'000)},
  };
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Times making or reading the load, simulating and reporting, as the peer's calls do.
void measure(const Scenario& scenario, const Options& options) {
  std::vector<double> walls;
  std::vector<double> cpus;
  std::vector<double> loads;
  sim::SimulationResult result;
  for (int i = 0; i < options.repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const double cpu = cpu_seconds();
    const sim::Workload workload = scenario.workload();
    loads.push_back(seconds_since(start));
    sim::SimulationSpec spec;
    spec.plan = &scenario.plan;
    spec.timers.assign(scenario.plan.pools.size(), std::make_shared<PolynomialTimer>());
    if (options.model) {
      spec.timers = sim::compile_timers(scenario.plan);
    }
    result = sim::simulate(spec, workload);
    walls.push_back(seconds_since(start));
    cpus.push_back(cpu_seconds() - cpu);
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf(
      "{\"scenario\": \"%s\", \"wall_s\": %.4f, \"cpu_s\": %.4f, \"load_s\": %.4f, "
      "\"requests_per_s\": %.0f, \"peak_mb\": %.0f, \"steps\": %llu, \"events\": %llu, "
      "\"ttft_ms\": %.4f, \"itl_ms\": %.4f, \"hit_rate\": %.5f, \"fingerprint\": \"%016llx\"}\n",
      scenario.name.c_str(), median(walls), median(cpus), median(loads),
      static_cast<double>(result.records.size()) / median(walls),
      static_cast<double>(usage.ru_maxrss) / 1024, static_cast<unsigned long long>(result.steps),
      static_cast<unsigned long long>(result.events),
      sim::test::mean_of(result.report, "time_to_first_token"),
      sim::test::mean_of(result.report, "inter_token_latency"),
      sim::test::mean_of(result.report, "prefix_cache_hit_rate"),
      static_cast<unsigned long long>(result.fingerprint));
  std::fflush(stdout);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--timer" && i + 1 < argc) {
      options.model = std::string(argv[++i]) == "model";
    } else if (argument == "--repeats" && i + 1 < argc) {
      options.repeats = std::max(1, std::atoi(argv[++i]));
    } else if (argument == "--trace" && i + 1 < argc) {
      options.trace = argv[++i];
    } else {
      options.wanted.push_back(argument);
    }
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  for (const Scenario& scenario : scenarios(options)) {
    const bool named = std::find(options.wanted.begin(), options.wanted.end(), scenario.name) !=
                       options.wanted.end();
    if (named || options.wanted.empty()) {
      measure(scenario, options);
    }
  }
  return 0;
}
