// Time of one look-up and of compiling a model.

#include <benchmark/benchmark.h>

#include <filesystem>

#include "dyn/perf/builtin_profiles.h"
#include "dyn/perf/layer_tables.h"
#include "dyn/perf/memory_model.h"
#include "dyn/perf/perf_model.h"
#include "paths.h"
#include "sample_models.h"

namespace {

using namespace dyn;
using namespace dyn::perf;

PerfTarget target_of(int which) {
  PerfTarget target;
  if (which == 0) {
    target.model = perf::test::llama_70b();
    target.layout = {4, 1, 1, 1};
  } else if (which == 1) {
    target.model = perf::test::deepseek_v3();
    target.layout = {1, 1, 8, 8};
    target.weights = Precision::fp8_block;
  } else {
    target.model = perf::test::gpt_oss_120b();
    target.layout = {2, 1, 1, 1};
    target.weights = Precision::mxfp4;
  }
  return target;
}

StepBatch batch_of(bool mixed) {
  StepBatch batch;
  if (mixed) {
    batch.add_prefill(1500, 700, true);
  }
  for (int i = 0; i < 100; ++i) {
    batch.add_decode(1000 + i);
  }
  return batch;
}

void step_time(benchmark::State& state) {
  const auto model =
      PerfModel::compile(target_of(static_cast<int>(state.range(0))), builtin_profile("h200"));
  StepBatch batch = batch_of(state.range(1) != 0);
  for (auto _ : state) {
    ++batch.decode_context;
    benchmark::DoNotOptimize(model->step_time(batch));
  }
}
BENCHMARK(step_time)->ArgsProduct({{0, 1, 2}, {0, 1}})->ArgNames({"model", "mixed"});

void compile(benchmark::State& state) {
  const PerfTarget target = target_of(static_cast<int>(state.range(0)));
  const Profile profile = builtin_profile("h200");
  for (auto _ : state) {
    benchmark::DoNotOptimize(PerfModel::compile(target, profile));
  }
}
BENCHMARK(compile)->Arg(0)->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond);

void memory(benchmark::State& state) {
  const PerfTarget target = target_of(1);
  const Profile profile = builtin_profile("h200");
  for (auto _ : state) {
    benchmark::DoNotOptimize(memory_use(target, profile.device, EngineConfig{}));
  }
}
BENCHMARK(memory);

std::string tables_folder() {
  return dyn::test::reference_data("operators/vllm019/RTX4090/meta-llama/Llama-3.1-8B/bf16/tp1")
      .string();
}

void layer_tables_step(benchmark::State& state) {
  if (!std::filesystem::exists(tables_folder())) {
    state.SkipWithError("no reference data");
    return;
  }
  const auto timer = load_layer_tables(tables_folder(), perf::test::llama_8b(), EngineHost{});
  StepBatch batch = batch_of(state.range(0) != 0);
  // The tables end at 16,384 tokens a sequence.
  const std::int64_t first = batch.decode_context + (state.range(1) != 0 ? 2'000'000 : 0);
  std::int64_t more = 0;
  for (auto _ : state) {
    more = (more + 1) % 1'000'000;
    batch.decode_context = first + more;
    benchmark::DoNotOptimize(timer->step_time(batch));
  }
}
BENCHMARK(layer_tables_step)->ArgsProduct({{0, 1}, {0, 1}})->ArgNames({"mixed", "beyond"});

void layer_tables_load(benchmark::State& state) {
  if (!std::filesystem::exists(tables_folder())) {
    state.SkipWithError("no reference data");
    return;
  }
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        load_layer_tables(tables_folder(), perf::test::llama_8b(), EngineHost{}));
  }
}
BENCHMARK(layer_tables_load)->Unit(benchmark::kMillisecond);

}  // namespace
