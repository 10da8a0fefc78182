// Two public runs of a real vLLM 0.19.0 (300 requests each, Llama-3.1-8B), simulated with the
// operator times measured inside that engine. Only one constant is fitted for each run: the
// engine's host time per step, on the TPOT of the run's first 100 requests; the figures
// are those of the other 200.
#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "dyn/core/catalogue.h"
#include "dyn/perf/layer_tables.h"
#include "fleets.h"

namespace dyn::sim {
namespace {

using namespace test;

constexpr std::size_t kFitted = 100;  ///< requests that the host constant is fitted on
constexpr int kBlock = 16;

/// Seconds, means over requests.
struct Means {
  double ttft = 0;
  double tpot = 0;
  double e2e = 0;
};

struct RealRun {
  Workload workload;
  std::vector<Means> measured;  ///< by request
};

/// The run's own format: timestamps in ms, ids of full 16-token blocks only.
RealRun load_run(const std::string& name) {
  RealRun run;
  run.workload.block_tokens = kBlock;
  std::ifstream file(reference_data("real_vllm/" + name + ".jsonl"));
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line);
    WorkloadRequest request;
    request.arrival = SimTime(from_seconds(json.at("timestamp").get<double>() * 1e-3));
    request.input_tokens = json.at("input_length");
    request.output_tokens = json.at("output_length");
    request.first_block = static_cast<std::uint32_t>(run.workload.blocks.size());
    request.block_count = static_cast<std::uint32_t>(json.at("hash_ids").size());
    kvbm::BlockHash hash = kvbm::chain_root("real");
    for (const auto& id : json.at("hash_ids")) {
      hash = kvbm::chain(hash, id.get<std::uint64_t>());
      run.workload.blocks.push_back(hash);
    }
    run.workload.requests.push_back(request);
    run.measured.push_back({json.at("real_ttft_s"), json.at("real_tpot_s"), json.at("real_e2e_s")});
  }
  return run;
}

Means of_record(const RequestRecord& record) {
  const double ttft = to_seconds(record.first_token - record.sent);
  const double e2e = to_seconds(record.finished - record.sent);
  const auto gaps = static_cast<double>(record.output_tokens - 1);
  return {ttft, gaps > 0 ? (e2e - ttft) / gaps : 0, e2e};
}

/// Means over the requests in [first, last); TPOT over those with two or more output tokens.
Means mean(const std::vector<Means>& requests, std::size_t first, std::size_t last) {
  Means sum;
  double with_gaps = 0;
  for (std::size_t i = first; i < last; ++i) {
    sum.ttft += requests[i].ttft;
    sum.tpot += requests[i].tpot;
    sum.e2e += requests[i].e2e;
    with_gaps += requests[i].tpot > 0 ? 1 : 0;
  }
  const auto n = static_cast<double>(last - first);
  return {sum.ttft / n, sum.tpot / with_gaps, sum.e2e / n};
}

/// 99th percentile of E2E over the requests from `first` on, as numpy interpolates.
double p99_e2e(const std::vector<Means>& requests, std::size_t first) {
  std::vector<double> values;
  for (std::size_t i = first; i < requests.size(); ++i) {
    values.push_back(requests[i].e2e);
  }
  std::sort(values.begin(), values.end());
  const double at = 0.99 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const double part = at - static_cast<double>(below);
  return values[below] + part * (values[below + 1] - values[below]);
}

struct Engine {
  std::string tables;
  int max_num_seqs;
  std::int64_t kv_blocks;
};

std::vector<Means> predict(const Engine& engine, const RealRun& run, Duration host) {
  EngineHost constants;
  constants.step_base = host;
  Fleet fleet = aggregated(1, {});
  fleet.plan.pools[0].config.max_num_seqs = engine.max_num_seqs;
  fleet.plan.pools[0].config.max_num_batched_tokens = 2048;
  fleet.plan.pools[0].config.kv_blocks = engine.kv_blocks;
  fleet.plan.pools[0].config.max_model_len = 32'768;
  const ModelSpec model = find_model(reference_data("models/Llama-3.1-8B.json").string());
  fleet.timers = {perf::load_layer_tables(
      reference_data("operators/vllm019/" + engine.tables).string(), model, constants)};
  std::vector<Means> out;
  for (const RequestRecord& record : simulate(fleet.spec(), run.workload).records) {
    REQUIRE(record.status == RequestStatus::completed);
    out.push_back(of_record(record));
  }
  return out;
}

/// The host time per step at which the first requests have the TPOT that was measured.
Duration fit_host(const Engine& engine, const RealRun& run) {
  const double target = mean(run.measured, 0, kFitted).tpot;
  double low = -20e-3;
  double high = 20e-3;
  for (int i = 0; i < 16; ++i) {
    const double middle = (low + high) / 2;
    const Means fitted = mean(predict(engine, run, from_seconds(middle)), 0, kFitted);
    (fitted.tpot < target ? low : high) = middle;
  }
  return from_seconds((low + high) / 2);
}

void check_run(const std::string& name, const Engine& engine) {
  const RealRun run = load_run(name);
  REQUIRE(run.measured.size() == 300);
  const Duration host = fit_host(engine, run);
  const std::vector<Means> simulated = predict(engine, run, host);
  const Means real = mean(run.measured, kFitted, run.measured.size());
  const Means predicted = mean(simulated, kFitted, run.measured.size());
  const double real_p99 = p99_e2e(run.measured, kFitted);
  const double p99 = p99_e2e(simulated, kFitted);
  INFO(name << ": host " << to_millis(host) << " ms; TTFT " << predicted.ttft << " s, measured "
            << real.ttft << "; TPOT " << predicted.tpot << ", measured " << real.tpot << "; E2E "
            << predicted.e2e << ", measured " << real.e2e << "; p99 of E2E " << p99 << ", measured "
            << real_p99);
  CHECK(predicted.ttft == Approx(real.ttft).epsilon(0.04));
  CHECK(predicted.tpot == Approx(real.tpot).epsilon(0.04));
  CHECK(predicted.e2e == Approx(real.e2e).epsilon(0.04));
  CHECK(p99 == Approx(real_p99).epsilon(0.04));
}

TEST_CASE("a real vLLM on an RTX 4090 is reproduced within 4 %") {
  if (!have_reference_data()) {
    WARN("skipped: the reference data is not at hand");
    return;
  }
  check_run("real_vllm019_RTX4090_Llama-3.1-8B",
            {"RTX4090/meta-llama/Llama-3.1-8B/bf16/tp1", 256, 2588});
}

TEST_CASE("a real vLLM on an RTX PRO 6000 is reproduced within 4 %") {
  if (!have_reference_data()) {
    WARN("skipped: the reference data is not at hand");
    return;
  }
  // The number of KV blocks is not recorded; at 128 sequences it does not bind.
  check_run("real_vllm019_RTXPRO6000_Llama-3.1-8B",
            {"RTXPRO6000/meta-llama/Llama-3.1-8B/bf16/tp1", 128, 30'000});
}

}  // namespace
}  // namespace dyn::sim
