#include "dyn/perf/memory_model.h"

#include <catch2/catch.hpp>

#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "sample_models.h"

namespace dyn::perf {

namespace {

PerfTarget target_of(ModelSpec model, ParallelLayout layout = {},
                     Precision weights = Precision::bf16, Precision kv = Precision::bf16) {
  PerfTarget target;
  target.model = std::move(model);
  target.layout = layout;
  target.weights = weights;
  target.kv_cache = kv;
  return target;
}

}  // namespace

TEST_CASE("Llama-3.1-8B on an RTX 4090 gets the KV blocks that vLLM 0.19 reported") {
  // LLMServingSim 5daddb2: 2588 blocks of 16 at 0.9 of 25,250,627,584 bytes, 2048-token steps.
  GpuSpec gpu = find_gpu("rtx-4090");
  gpu.memory = Bytes(25250627584);
  EngineConfig config;
  config.block_size = 16;
  config.max_num_batched_tokens = 2048;
  const MemoryUse use = memory_use(target_of(test::llama_8b()), gpu, config);
  CHECK(static_cast<double>(use.weights.count()) == Approx(16.06e9).epsilon(0.005));
  CHECK(use.kv_bytes_per_block == Bytes(32 * 2 * 8 * 128 * 2 * 16));
  CHECK(static_cast<double>(use.kv_blocks) == Approx(2588).epsilon(0.10));
}

TEST_CASE("Llama-2-7B in fp8 on an H100 gets the KV blocks that TensorRT-LLM reported") {
  // docs/source/reference/memory.md: 4060 blocks of 64 in 0.9 of what is free of 79.10 GiB.
  GpuSpec gpu = find_gpu("h100");
  gpu.memory = Bytes(static_cast<std::int64_t>(79.10 * 1024 * 1024 * 1024));
  PerfTarget target =
      target_of(test::dense_model("Llama-2-7B", 32, 4096, 11008, 32, 32, 128, 32000), {},
                Precision::fp8, Precision::fp8);
  target.engine = "trtllm";
  EngineConfig config;
  config.block_size = 64;
  const MemoryUse use = memory_use(target, gpu, config);
  CHECK(use.kv_bytes_per_block == Bytes(64 * 262144));
  CHECK(static_cast<double>(use.kv_blocks) == Approx(4060).epsilon(0.05));
}

TEST_CASE("Qwen3-235B-A22B-FP8 on four H100 gets the KV tokens that SGLang reported") {
  // vLLM issue 21348: 367,404 tokens at a mem_fraction_static of 0.93.
  PerfTarget target =
      target_of(find_model("Qwen3-235B-A22B-FP8"), {4, 1, 1, 1}, Precision::fp8_block);
  target.engine = "sglang";
  EngineConfig config;
  config.memory_utilization = 0.93;
  const MemoryUse use = memory_use(target, find_gpu("h100"), config);
  CHECK(static_cast<double>(use.kv_tokens(config.block_size)) == Approx(367404).epsilon(0.12));
}

TEST_CASE("Qwen3-32B in fp8 on an H200 gets the weights and blocks that AISimulate states") {
  // Its captured output for 1x H200: weights 34.3 GB, KV 96.7 GB, 11,528 blocks of 64.
  EngineConfig config;
  config.block_size = 64;
  const MemoryUse use = memory_use(target_of(test::qwen3_32b(), {}, Precision::fp8, Precision::fp8),
                                   find_gpu("h200"), config);
  CHECK(static_cast<double>(use.weights.count()) == Approx(34.3e9).epsilon(0.01));
  CHECK(static_cast<double>(use.kv_blocks) == Approx(11528).epsilon(0.10));
}

TEST_CASE("The parts of the budget add up") {
  const EngineConfig config;
  const MemoryUse use =
      memory_use(target_of(test::llama_70b(), {4, 1, 1, 1}), find_gpu("h100"), config);
  CHECK(use.kv_blocks > 0);
  const Bytes kv(use.kv_blocks * use.kv_bytes_per_block.count());
  const Bytes rest = use.budget - use.weights - use.activations - use.reserve - kv;
  CHECK(rest >= Bytes(0));
  CHECK(rest < use.kv_bytes_per_block);
  CHECK(use.kv_tokens(config.block_size) == use.kv_blocks * config.block_size);
}

TEST_CASE("Weights that do not fit leave no blocks, whatever the configuration says") {
  EngineConfig config;
  CHECK(memory_use(target_of(test::llama_70b()), find_gpu("h100"), config).kv_blocks == 0);
  config.kv_blocks = 100;
  CHECK(memory_use(target_of(test::llama_70b()), find_gpu("h100"), config).kv_blocks == 0);
  CHECK(memory_use(target_of(test::llama_8b()), find_gpu("h100"), config).kv_blocks == 100);
}

TEST_CASE("Tensor parallelism divides KV heads until there is one, and never MLA's latent") {
  const EngineConfig config;
  const auto block = [&](const ModelSpec& model, ParallelLayout layout) {
    return memory_use(target_of(model, layout), find_gpu("h200"), config)
        .kv_bytes_per_block.count();
  };
  const std::int64_t whole = block(test::llama_8b(), {});
  CHECK(block(test::llama_8b(), {4, 1, 1, 1}) == whole / 4);
  CHECK(block(test::llama_8b(), {8, 1, 1, 1}) == whole / 8);
  CHECK(block(test::llama_8b(), {16, 1, 1, 1}) == whole / 8);
  CHECK(block(test::llama_8b(), {1, 2, 1, 1}) == whole / 2);
  CHECK(block(test::deepseek_v3(), {8, 1, 1, 8}) == 61 * 576 * 2 * config.block_size);
}

TEST_CASE("Every tensor-parallel rank's KV agrees with the model's own figure") {
  for (const ModelSpec& model : {test::llama_70b(), test::qwen3_30b_a3b(), test::deepseek_v3()}) {
    for (const int tp : {1, 2, 4, 8}) {
      const MemoryUse use =
          memory_use(target_of(model, {tp, 1, 1, 1}), find_gpu("b300"), EngineConfig{});
      CHECK(use.kv_bytes_per_block.count() ==
            EngineConfig{}.block_size * model.kv_bytes_per_token(Precision::bf16, tp).count());
    }
  }
}

TEST_CASE("Weights of an unsharded model agree with its parameter count") {
  for (const ModelSpec& model : {test::llama_8b(), test::qwen3_30b_a3b(), test::deepseek_v3()}) {
    const MemoryUse use = memory_use(target_of(model), find_gpu("h200"), EngineConfig{});
    CHECK(static_cast<double>(use.weights.count()) ==
          Approx(2.0 * static_cast<double>(model.parameters())).epsilon(0.005));
  }
}

TEST_CASE("Experts are spread over all GPUs of tensor x data, attention over tensor alone") {
  const EngineConfig config;
  const auto weights = [&](ParallelLayout layout) {
    return static_cast<double>(
        memory_use(target_of(test::deepseek_v3(), layout, Precision::fp8), find_gpu("h200"), config)
            .weights.count());
  };
  const double tensor = weights({8, 1, 1, 8});
  const double data = weights({1, 1, 8, 8});
  CHECK(tensor == Approx(671e9 / 8).epsilon(0.05));
  // Each attention-DP rank holds all of attention and the vocabulary, some 20 GB of DeepSeek-V3.
  CHECK(data > tensor + 10e9);
  CHECK(data < tensor + 30e9);
}

TEST_CASE("A larger token budget or more sequences leave less for the KV cache") {
  EngineConfig config;
  const PerfTarget target = target_of(test::llama_8b());
  const std::int64_t blocks = memory_use(target, find_gpu("l40s"), config).kv_blocks;
  config.max_num_batched_tokens *= 2;
  CHECK(memory_use(target, find_gpu("l40s"), config).kv_blocks < blocks);
  config = {};
  config.max_num_seqs *= 2;
  CHECK(memory_use(target, find_gpu("l40s"), config).kv_blocks < blocks);
}

TEST_CASE("Each engine takes its own fraction for the cache") {
  const GpuSpec& gpu = find_gpu("h200");
  PerfTarget target = target_of(test::llama_8b());
  const auto left = [&](const EngineConfig& config) {
    const MemoryUse use = memory_use(target, gpu, config);
    return static_cast<double>((use.kv_blocks * use.kv_bytes_per_block.count()));
  };
  const EngineConfig config;
  const MemoryUse use = memory_use(target, gpu, config);
  const double capacity = static_cast<double>(gpu.memory.count());
  const double weights = static_cast<double>(use.weights.count());
  const double others = static_cast<double>((use.activations + use.reserve).count());
  CHECK(left(config) == Approx(0.9 * capacity - weights - others).epsilon(1e-3));
  target.engine_version = "0.22.1";
  CHECK(left(config) == Approx(0.92 * capacity - weights - others).epsilon(1e-3));
  target.engine_version = "0.9.1";
  CHECK(left(config) == Approx(0.9 * capacity - weights - others).epsilon(1e-3));
  target.engine = "trtllm";
  CHECK(left(config) == Approx(0.9 * (capacity - weights - others)).epsilon(1e-3));
  target.engine = "sglang";
  // One GPU of 143771 MiB: 512 + 1.5 x 8192 + 2 x 256 + 128 MiB are kept out.
  const double kept = (512 + 1.5 * 8192 + 2 * 256 + 128) / 143771;
  const double free = capacity - static_cast<double>(use.reserve.count());
  CHECK(left(config) == Approx((1 - kept) * free - weights).epsilon(1e-3));
  EngineConfig chosen;
  chosen.memory_utilization = 0.8;
  CHECK(left(chosen) == Approx(0.8 * free - weights).epsilon(1e-3));
}

TEST_CASE("States of sequences are set aside before blocks, for half of the cache at most") {
  PerfTarget target = target_of(find_model("Qwen3.5-397B-A17B"), {8, 1, 1, 1}, Precision::fp8);
  EngineConfig config;
  config.hybrid_kv_cache = false;
  const MemoryUse use = memory_use(target, find_gpu("h200"), config);
  CHECK(use.sequences == 256);
  CHECK(use.sequence_state.count() ==
        256 * target.model.kv_bytes_per_sequence(Precision::bf16, 8).count());
  CHECK(use.kv_blocks > 0);
  config.max_num_seqs = 1 << 20;
  const MemoryUse many = memory_use(target, find_gpu("b300"), config);
  CHECK(many.sequences < config.max_num_seqs);
  CHECK(many.kv_blocks > 0);
  const double cache = static_cast<double>(many.kv_blocks * many.kv_bytes_per_block.count());
  CHECK(static_cast<double>(many.sequence_state.count()) == Approx(cache).epsilon(0.05));
  CHECK(memory_use(target_of(test::llama_8b()), find_gpu("h200"), {}).sequence_state == Bytes(0));
}

TEST_CASE("Four-bit weights agree with the sizes of the published checkpoints") {
  struct Checkpoint {
    const char* name;
    double gigabytes;
  };
  // Sums of the safetensors files, without vision encoders and MTP layers.
  const Checkpoint checkpoints[] = {
      {"openai/gpt-oss-120b", 65.2},  // 60.8 GiB: OpenAI's model card
      {"openai/gpt-oss-20b", 13.8},   // 12.8 GiB: the same
      {"moonshotai/Kimi-K2.5", 594},  // 595 GB: its repository
  };
  for (const Checkpoint& checkpoint : checkpoints) {
    INFO(checkpoint.name);
    PerfTarget target = target_of(find_model(checkpoint.name));
    target.weights = target.model.native_weights;
    const MemoryUse use = memory_use(target, find_gpu("h200"), {});
    CHECK(static_cast<double>(use.weights.count()) / 1e9 ==
          Approx(checkpoint.gigabytes).epsilon(0.03));
  }
}

TEST_CASE("Draft layers take weights and cache") {
  PerfTarget target = target_of(test::deepseek_v3(), {8, 1, 1, 8}, Precision::fp8);
  const MemoryUse plain = memory_use(target, find_gpu("h200"), {});
  target.speculation = Speculation{SpeculationKind::mtp, 1, 1.8};
  const MemoryUse drafting = memory_use(target, find_gpu("h200"), {});
  // The published MTP module has 14 billion parameters, embeddings included (DeepSeek-V3 report).
  const double extra = static_cast<double>((drafting.weights - plain.weights).count());
  CHECK(extra == Approx(11.6e9 / 8).epsilon(0.2));
  CHECK(drafting.kv_bytes_per_block.count() * 61 == plain.kv_bytes_per_block.count() * 62);
}

TEST_CASE("The memory of an impossible layout is refused") {
  CHECK_THROWS_AS(memory_use(target_of(test::llama_8b(), {5, 1, 1, 1}), find_gpu("h100"), {}),
                  Error);
}

}  // namespace dyn::perf
