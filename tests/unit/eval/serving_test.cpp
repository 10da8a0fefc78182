#include "serving.h"

#include <catch2/catch.hpp>

#include "client.h"
#include "timers.h"

namespace dyn::eval {
namespace {

MeasuredRow deepseek(const std::string& version, const std::string& date, int data) {
  MeasuredRow row;
  row.engine = "trtllm";
  row.version = version;
  row.date = date;
  row.model = "deepseek-ai/DeepSeek-R1";
  row.gpu = "h200";
  row.gemm = row.moe = Precision::fp8;
  row.isl = row.osl = 1024;
  row.aggregated.layout = {8 / data, 1, data, 8};
  row.aggregated.batch = 16;
  return row;
}

ServingSettings settings_of(const MeasuredRow& row) {
  return serving_settings(row, row.aggregated, measured_model(row.model), row.aggregated.batch);
}

TEST_CASE("an image that ran with draft layers is known by its version and date") {
  CHECK_FALSE(settings_of(deepseek("1.1.0rc2.post2", "2025-12-15", 1)).speculation);
  const ServingSettings three = settings_of(deepseek("1.1.0rc2.post2", "2026-01-14", 1));
  const ServingSettings one = settings_of(deepseek("1.2.0rc6.post3", "2026-02-05", 8));
  REQUIRE(three.speculation);
  REQUIRE(one.speculation);
  CHECK(three.speculation->draft_tokens == 3);
  CHECK(one.speculation->draft_tokens == 1);
  // max_num_tokens of the script: the drafts of all slots, and one prompt.
  CHECK(three.config.max_num_batched_tokens >= 1024 + 4 * 16);
  CHECK(three.config.max_num_batched_tokens < 2048);
  CHECK(three.config.max_num_seqs == 16);
  // Balanced ranks wait for each other's prompts.
  CHECK(one.first_token_steps > three.first_token_steps);
}

TEST_CASE("a row without a version has the one of the benchmark's image at its date") {
  CHECK(engine_version(deepseek("1.2.0rc6.post2", "2026-01-29", 1)) == "1.2.0rc6.post2");
  CHECK(engine_version(deepseek("", "2025-11-02", 1)) == "1.1.0rc2");
  CHECK(engine_version(deepseek("", "", 1)).empty());
  MeasuredRow row = deepseek("", "2025-10-29", 1);
  row.engine = "vllm";
  const std::string before = engine_version(row);
  row.date = "2025-12-08";
  CHECK(engine_version(row) != before);
}

TEST_CASE("4-bit experts with 8-bit activations are priced by the kernels of their kin") {
  MeasuredRow row = deepseek("0.15.1", "2026-02-25", 1);
  row.engine = "vllm";
  row.model = "openai/gpt-oss-120b";
  row.moe = row.gemm = Precision::fp4;
  CHECK_FALSE(settings_of(row).expert_weights);
  CHECK(settings_of(row).weights == Precision::mxfp4);
  row.gpu = "b200";
  CHECK(settings_of(row).expert_weights == Precision::fp4);
}

TEST_CASE("tensor shards and attention ranks of vLLM are one number in its scripts") {
  MeasuredRow row = deepseek("0.19.0", "2026-04-22", 2);
  row.engine = "vllm";
  row.aggregated.layout = {2, 1, 2, 4};
  CHECK(started_workers(row).layout == ParallelLayout{1, 1, 2, 2});
  row.aggregated.layout = {1, 1, 4, 4};
  CHECK(started_workers(row).layout == ParallelLayout{1, 1, 4, 4});
  row.aggregated.layout = {2, 1, 2, 4};
  row.engine = "sglang";
  CHECK(started_workers(row).layout == ParallelLayout{2, 1, 2, 4});
  row.engine = "vllm";
  row.source = "source_file=gap-analysis/b200_sxm/vllm/0.19.0/model.csv";
  CHECK(started_workers(row).layout == ParallelLayout{2, 1, 2, 4});
}

TEST_CASE("a script that let the client send all prompts at once has the engine admit a tenth") {
  MeasuredRow row = deepseek("0.11.2", "2025-12-08", 1);
  row.engine = "vllm";
  row.model = "openai/gpt-oss-120b";
  row.gpu = "h100";
  row.concurrency = row.aggregated.batch = 512;
  const MeasuredWorkers workers = started_workers(row);
  CHECK(workers.batch < 64);
  const ServingSettings settings =
      serving_settings(row, workers, measured_model(row.model), workers.batch);
  CHECK(settings.config.max_num_seqs == workers.batch);
  CHECK(settings.waiting == 9 * workers.batch);
  CHECK(settings.prompts_per_slot == 1);
  CHECK(settings.asynchronous);
  row.date = "2025-12-20";
  CHECK(started_workers(row).batch == 512);
  CHECK(settings_of(row).waiting == 0);
  row.date = "2025-12-08";
  row.concurrency = row.aggregated.batch = 64;
  CHECK(started_workers(row).batch == 64);
}

TEST_CASE("answers of a drafting engine take fewer steps, each with the whole context") {
  const MeasuredRow row = deepseek("1.2.0rc6.post3", "2026-02-05", 1);
  const sim::Workload plain = client(row, 4, 0.8, 1);
  const sim::Workload drafted = client(row, 4, 0.8, 2);
  REQUIRE(plain.requests.size() == drafted.requests.size());
  for (std::size_t i = 0; i < plain.requests.size(); ++i) {
    const auto rest = static_cast<double>(plain.requests[i].output_tokens - 1);
    CHECK(static_cast<double>(drafted.requests[i].output_tokens - 1) ==
          Approx(rest / 2).margin(0.51));
    CHECK(drafted.requests[i].input_tokens == plain.requests[i].input_tokens);
  }
  class Context final : public perf::StepTimer {
   public:
    Duration step_time(const perf::StepBatch& batch) const noexcept override {
      return Duration{batch.decode_context};
    }
  };
  const DraftingTimer timer(std::make_shared<Context>(), 2, 1000);
  perf::StepBatch batch;
  batch.add_decode(1100);
  batch.add_decode(1300);
  CHECK(timer.step_time(batch) == Duration{1000 + 200 + 1000 + 600});
}

TEST_CASE("other clients' lengths spread less than InferenceX's") {
  MeasuredRow row = deepseek("1.0.0rc3", "", 1);
  CHECK(shortest_length(row) == 0.8);
  row.source = "source_file=gap-analysis/h100_sxm/trtllm/1.0.0rc3/model.csv";
  CHECK(shortest_length(row) > 0.9);
  row.engine = "sglang";
  CHECK(shortest_length(row) == 1.0);
  row.model = "Qwen/Qwen3.5-397B-A17B";  // of InferenceX's scripts, whatever the source is called
  CHECK(shortest_length(row) == 0.8);
}

}  // namespace
}  // namespace dyn::eval
