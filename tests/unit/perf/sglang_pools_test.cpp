#include <catch2/catch.hpp>

#include "dyn/core/catalogue.h"
#include "dyn/perf/cache_groups.h"
#include "dyn/perf/memory_model.h"
#include "sample_models.h"

namespace dyn::perf {

namespace {

EngineConfig sglang() {
  EngineConfig config;
  config.kind = "sglang";
  return config;
}

MemoryUse memory_of(const ModelSpec& model, const EngineConfig& config, int tensor = 1) {
  PerfTarget target;
  target.model = model;
  target.weights = model.native_weights;
  target.kv_cache = Precision::bf16;
  target.layout.tensor = tensor;
  target.layout.expert = model.moe ? tensor : 1;
  target.engine = config.kind;
  return memory_use(target, find_gpu("h200"), config);
}

CacheGroups pools_of(const ModelSpec& model, const EngineConfig& config) {
  return cache_groups(model, Precision::bf16, 1, config);
}

ModelSpec gpt_oss() {
  return find_model("openai/gpt-oss-120b");
}
ModelSpec qwen() {
  ModelSpec model = find_model("Qwen/Qwen3.5-397B-A17B");
  model.native_weights = Precision::fp8;
  return model;
}

}  // namespace

TEST_CASE("SGLang shares the cache so that sliding layers have 0.8 of the others' tokens") {
  constexpr double kLayer = 2 * 8 * 64 * 2;  // bytes of a token
  EngineConfig config = sglang();
  const MemoryUse use = memory_of(gpt_oss(), config);
  CHECK(use.kv_bytes_per_block.count() == std::llround(64 * kLayer * (18 + 0.8 * 18)));
  CHECK(use.window_blocks == use.kv_blocks * 4 / 5);
  CHECK(use.sequence_state == Bytes(0));
  config.hybrid_kv_cache = false;
  const MemoryUse kept = memory_of(gpt_oss(), config);
  CHECK(kept.kv_bytes_per_block.count() == std::llround(64 * kLayer * 36));
  CHECK(kept.window_blocks == 0);
  // Both fill the same memory.
  CHECK(static_cast<double>(use.kv_blocks) / static_cast<double>(kept.kv_blocks) ==
        Approx(36 / (18 + 0.8 * 18)).epsilon(1e-4));
  config = sglang();
  config.sglang.swa_full_tokens_ratio = 1;
  CHECK(memory_of(gpt_oss(), config).kv_blocks == kept.kv_blocks);
  CHECK(memory_of(gpt_oss(), config).window_blocks == kept.kv_blocks);
  config.sglang.swa_full_tokens_ratio = 0.1;
  const MemoryUse narrow = memory_of(gpt_oss(), config);
  CHECK(narrow.kv_blocks > use.kv_blocks);
  CHECK(narrow.window_blocks < use.window_blocks);
}

TEST_CASE("SGLang keeps the whole context in sliding layers that it has no pool for") {
  CHECK(has_window_pool(gpt_oss(), sglang()));
  CHECK_FALSE(keeps_windows(gpt_oss(), sglang()));
  const ModelSpec gemma = find_model("google/gemma-3-27b-it");
  CHECK(keeps_windows(gemma, sglang()));
  CHECK(pools_of(gemma, sglang()).window_pool == 0);
  CHECK_FALSE(has_window_pool(test::llama_8b(), sglang()));
  CHECK_FALSE(keeps_windows(test::llama_8b(), sglang()));
  CHECK_FALSE(has_window_pool(gpt_oss(), {}));
  EngineConfig trtllm;
  trtllm.kind = "trtllm";
  CHECK_FALSE(keeps_windows(gpt_oss(), trtllm));
}

TEST_CASE("The pools are as large as kv_blocks makes them, and sequences share them") {
  EngineConfig config = sglang();
  CHECK(pools_of(gpt_oss(), config).window_pool == 0);
  config.kv_blocks = 101;
  const CacheGroups pools = pools_of(gpt_oss(), config);
  CHECK_FALSE(pools.split());
  CHECK(pools.window_pool == 80);
  CHECK(pools.window == 128);
  CHECK(pools.unsplit().window_pool == 80);
  CHECK(pools.pool_blocks(64, 1, 64) == 1);
  CHECK(pools.pool_blocks(10'000, 1, 64) == 3);         // 128 tokens touch three blocks
  CHECK(pools.pool_blocks(10'000, 2048, 64) == 35);     // 127 + 2048 of them
  CHECK(pools.pool_blocks(1'000'000, 8192, 64) == 80);  // more than there are
  CHECK(pools.most_sequences(10'000, 64) == 26);
  CHECK(pools.most_sequences(64, 64) == 80);
  CHECK(CacheGroups{}.most_sequences(64, 64) == 2147483647);
}

TEST_CASE("SGLang gives linear states 0.9 bytes for each of KV, and three to every request") {
  EngineConfig config = sglang();
  const double state = static_cast<double>(qwen().state_bytes(8).count());
  const MemoryUse use = memory_of(qwen(), config, 8);
  const double kv = static_cast<double>(use.kv_blocks * use.kv_bytes_per_block.count());
  CHECK(use.states > 100);
  CHECK(use.states * state / kv == Approx(0.9).epsilon(0.01));
  CHECK(use.sequence_state.count() == std::llround(use.states * state));
  CHECK(use.sequences == std::min(256, use.states / 3));
  config.sglang.mamba_full_memory_ratio = 0.3;
  CHECK(memory_of(qwen(), config, 8).states ==
        Approx(use.states * (0.3 / 1.3) / (0.9 / 1.9)).epsilon(0.01));
  config.sglang.max_mamba_cache_size = 60;
  const MemoryUse few = memory_of(qwen(), config, 8);
  CHECK(few.states == 60);
  CHECK(few.sequences == 20);
  CHECK(few.kv_blocks > use.kv_blocks);
  CHECK(pools_of(qwen(), config).most_states == 20);
  CHECK(pools_of(qwen(), config).most_sequences(5000, 64) == 20);
  config.sglang.max_mamba_cache_size = 1'000'000;  // leaves no KV
  CHECK(memory_of(qwen(), config, 8).kv_blocks == 0);
}

TEST_CASE("Without a prefix cache a request has one state, and drafts have more") {
  EngineConfig config = sglang();
  config.prefix_caching = false;
  config.max_num_seqs = 40;
  CHECK(memory_of(qwen(), config, 8).states == 40);
  CHECK(memory_of(qwen(), config, 8).sequences == 40);
  const Bytes plain = memory_of(qwen(), config, 8).sequence_state;
  config.speculation = SpeculationConfig{};
  config.speculation->draft_tokens = 2;
  CHECK(memory_of(qwen(), config, 8).sequence_state == plain * 3);
  config.prefix_caching = true;
  const int drafting = memory_of(qwen(), config, 8).states;
  config.speculation.reset();
  CHECK(drafting == Approx(memory_of(qwen(), config, 8).states / (1 + 2.0 / 3)).epsilon(0.01));
}

}  // namespace dyn::perf
