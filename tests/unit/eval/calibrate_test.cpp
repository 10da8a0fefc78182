#include "dyn/eval/calibrate.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "dyn/core/catalogue.h"
#include "dyn/core/document.h"
#include "dyn/core/error.h"
#include "dyn/perf/builtin_profiles.h"
#include "dyn/perf/perf_model.h"
#include "dyn/sim/simulation.h"
#include "paths.h"
#include "tables.h"

namespace dyn::eval {
namespace {

Deployment deployment() {
  Deployment out;
  out.profile = perf::builtin_profile("h100");
  out.model = find_model("meta-llama/Llama-3.1-8B");
  out.config.block_size = 16;
  out.config.prefix_caching = false;
  out.config.version = "0.12";
  return out;
}

EngineHost& host(Profile& profile) {
  for (EngineHost& one : profile.engines) {
    if (one.engine == "vllm") {
      return one;
    }
  }
  return profile.engines.emplace_back();
}

/// A run of the deployment with other host constants, as if it were measured.
RecordedRun record(const std::string& name, int concurrency, double base_ms, double sequence_ms,
                   double frontend_ms) {
  Deployment truth = deployment();
  host(truth.profile).step_base = from_seconds(base_ms * 1e-3);
  host(truth.profile).step_per_sequence = from_seconds(sequence_ms * 1e-3);
  host(truth.profile).frontend_per_request = from_seconds(frontend_ms * 1e-3);
  Plan plan;
  plan.pools.emplace_back();
  plan.pools[0].config = truth.config;
  plan.pools[0].config.kv_blocks = 20'000;
  plan.pools[0].config.max_model_len = 8192;
  plan.router.kind = RouterKind::round_robin;
  sim::SimulationSpec spec;
  spec.plan = &plan;
  perf::PerfTarget target;
  target.model = truth.model;
  target.engine_version = *truth.config.version;
  spec.timers = {perf::PerfModel::compile(target, truth.profile)};
  sim::Workload workload;
  workload.concurrency = concurrency;
  for (int i = 0; i < 40 * concurrency; ++i) {
    sim::WorkloadRequest request;
    request.input_tokens = 100 + 977 * (i * 7 % 11) / 11;
    request.output_tokens = 30 + i * 13 % 41;
    workload.requests.push_back(request);
  }
  RecordedRun run;
  run.name = name;
  run.concurrency = concurrency;
  for (const RequestRecord& r : sim::simulate(spec, workload).records) {
    run.requests.push_back({r.sent - SimTime{}, r.input_tokens, r.output_tokens,
                            to_millis(r.first_token - r.sent), to_millis(r.finished - r.sent)});
  }
  return run;
}

const std::vector<Constant> kHost{Constant::step_base, Constant::step_per_sequence,
                                  Constant::frontend};

TEST_CASE("constants that a run was made with are found again") {
  const std::vector<RecordedRun> runs{record("one", 1, 5, 0.2, 30), record("ten", 10, 5, 0.2, 30)};
  const RecordedRun other = record("four", 4, 5, 0.2, 30);
  const Calibration fit = calibrate(deployment(), runs, kHost, {other});
  REQUIRE(fit.constants.size() == 3);
  CHECK(fit.constants[0].after == Approx(5).epsilon(0.02));
  CHECK(fit.constants[1].after == Approx(0.2).epsilon(0.05));
  CHECK(fit.constants[2].after == Approx(30).epsilon(0.02));
  REQUIRE(fit.predicted.size() == 1);
  CHECK(std::abs(fit.predicted[0].ttft.error_before()) > 0.2);
  CHECK(std::abs(fit.predicted[0].ttft.error_after()) < 0.02);
  CHECK(std::abs(fit.predicted[0].itl.error_after()) < 0.02);
  CHECK(fit.held_out.size() == 2);
  // A profile that is read back gives the same.
  Profile read = parse_profile(Document::parse(to_json(fit.profile), "p.json"));
  Profile written = fit.profile;
  CHECK(host(read).step_base == host(written).step_base);
  CHECK(host(written).step_base == from_seconds(fit.constants[0].after * 1e-3));
  CHECK(host(written).source.find("one, ten (440 requests)") != std::string::npos);
  CHECK(host(written).provenance == Provenance::measured);
  CHECK(written.engines[1].version == "0.14");  // not the one that ran
  CHECK(written.engines[1].step_base == deployment().profile.engines[1].step_base);
  CHECK(written.engines[1].provenance != Provenance::measured);
}

TEST_CASE("a factor on the device's time is found again") {
  const std::vector<RecordedRun> runs{record("one", 1, 5, 0.2, 30), record("ten", 10, 5, 0.2, 30)};
  Deployment slow = deployment();
  for (OperatorFit& fit : slow.profile.operators) {
    fit.overhead = fit.overhead + fit.overhead / 2;
    fit.compute_efficiency /= 1.5;
    fit.bandwidth_efficiency /= 1.5;
  }
  std::vector<Constant> constants = kHost;
  constants.push_back(Constant::prefill_time);
  const Calibration fit = calibrate(slow, runs, constants, {});
  CHECK(fit.constants.back().after == Approx(1 / 1.5).epsilon(0.2));
}

TEST_CASE("one concurrency alone does not tell a step from its sequences") {
  const std::vector<RecordedRun> runs{record("ten", 10, 5, 0.2, 30)};
  for (const std::vector<Constant>& chosen : {kHost, std::vector<Constant>{}}) {
    try {
      calibrate(deployment(), runs, chosen, {});
      FAIL("fitted what the run cannot tell");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::infeasible);
      const std::string text = error.what();
      CHECK(text.find("step_base is not identified by ten: it cannot be told from "
                      "step_per_sequence") != std::string::npos);
      CHECK(text.find("step_per_sequence is not identified") != std::string::npos);
    }
  }
  const Calibration one =
      calibrate(deployment(), runs, {Constant::step_base, Constant::frontend}, {});
  CHECK(one.constants[0].after > 5);
  CHECK(one.constants[0].after < 8);
}

TEST_CASE("without a hold-out calibration says so, and more constants make it less sure") {
  const MeasuredRuns given =
      runs_of(test::table(test::row("a", 1, "41", "7.7") + test::row("b", 32, "107", "14.6")));
  std::vector<Constant> constants{Constant::step_base};
  double before = 0;
  for (const Constant more :
       {Constant::step_per_sequence, Constant::frontend, Constant::prefill_time}) {
    constants.push_back(more);
    const Calibration fit = calibrate(given.deployment, given.runs, constants, {});
    CHECK(fit.held_out.empty());
    CHECK(to_text(fit).find("no hold-out: means only") != std::string::npos);
    CHECK(to_json(fit).find("\"no_hold_out\": \"means only") != std::string::npos);
    // 3 % of run to run, at p constants of 4 figures.
    const double p = static_cast<double>(constants.size());
    CHECK(fit.relative_error >= 1.6449 * 0.03 * std::sqrt((4 + p) / std::max(1.0, 4 - p)));
    if (constants.size() > 2) {
      CHECK(fit.relative_error > before - 1e-9);
    }
    before = fit.relative_error;
  }
}

TEST_CASE("rows of one deployment are runs, of two are refused") {
  const MeasuredRuns given =
      runs_of(test::table(test::row("a", 1, "30", "7") + test::row("b", 8, "60", "8") +
                          test::row("c", 32, "90", "11")));
  REQUIRE(given.runs.size() == 3);
  CHECK(given.runs[1].concurrency == 8);
  CHECK(given.runs[1].mean_itl_ms() == Approx(8));
  CHECK(given.deployment.model.name.find("Llama-3.1-8B") != std::string::npos);
  const Calibration fit = calibrate(given.deployment, given.runs, {}, {});
  CHECK(fit.held_out.size() == 3);
  CHECK(to_text(fit).find("no hold-out") == std::string::npos);
  CHECK(std::abs(fit.fitted[1].itl.error_after()) < 0.1);

  MeasuredTable two = test::table(test::row("a", 1) + test::row("b", 8));
  two.rows[1].aggregated.layout.tensor = 2;
  CHECK_THROWS_AS(runs_of(two), Error);
  two = test::table(test::row("a", 1) + test::row("b", 8, ""));
  CHECK_THROWS_AS(runs_of(two), Error);
}

TEST_CASE("a real engine on a CPU is predicted within 10 % after calibration") {
  if (!dyn::test::have_reference_data()) {
    WARN("skipped: no reference data");
    return;
  }
  const auto load = [](const char* name) {
    return load_recorded_run(dyn::test::reference_data(std::string("real_cpu/") + name).string());
  };
  // A CPU as `dyn profile --gpu cpu` measures it; the engine's kernels are not dyn's.
  Deployment cpu;
  cpu.profile.name = "cpu";
  GpuSpec& device = cpu.profile.device;
  device.id = device.name = device.vendor = "cpu";
  device.memory = Bytes(std::int64_t{24} << 30);
  device.memory_bandwidth = BytesPerSec(15e9);
  device.peak[Precision::fp32] = FlopsPerSec(190e9);
  device.gpus_per_node = 1;
  OperatorFit fit;
  fit.precision = Precision::fp32;
  fit.compute_efficiency = 0.4;
  fit.correction = {{1, 1}, {4, 3}, {32, 1}};
  fit.provenance = Provenance::measured;
  for (const OperatorKind kind : {OperatorKind::gemm, OperatorKind::attention_prefill,
                                  OperatorKind::attention_decode, OperatorKind::elementwise}) {
    fit.kind = kind;
    cpu.profile.operators.push_back(fit);
  }
  cpu.model = find_model("meta-llama/Llama-3.1-8B");
  cpu.model.layers = 4;
  cpu.model.hidden = 256;
  cpu.model.intermediate = 512;
  cpu.model.vocabulary = 129'280;
  cpu.model.attention.heads = 4;
  cpu.model.attention.kv_heads = 4;
  cpu.model.attention.head_dim = 64;
  cpu.weights = cpu.kv_cache = Precision::fp32;
  cpu.config.max_num_batched_tokens = 2048;
  cpu.config.max_num_seqs = 128;
  cpu.config.block_size = 32;
  cpu.config.kv_blocks = 4096;
  cpu.config.prefix_caching = false;
  const Calibration done =
      calibrate(cpu, {load("closed1.jsonl"), load("closed8.jsonl")}, {}, {load("poisson1.jsonl")});
  const RunFigures& poisson = done.predicted.front();
  for (const RunFigures::Figure& f : {poisson.ttft, poisson.itl, poisson.e2e}) {
    INFO(f.measured << " ms measured, " << f.after << " predicted, " << f.low << " to " << f.high);
    CHECK(std::abs(f.error_after()) < 0.10);
    CHECK(f.low <= f.measured);
    CHECK(f.measured <= f.high);
    CHECK(std::abs(f.error_before()) > std::abs(f.error_after()));
  }
  CHECK_THROWS_AS(calibrate(cpu, {load("closed8.jsonl")}, {}, {}), Error);
}

}  // namespace
}  // namespace dyn::eval
