#include "dyn/perf/cache_groups.h"

#include <catch2/catch.hpp>

#include "dyn/core/catalogue.h"
#include "dyn/perf/memory_model.h"
#include "sample_models.h"

namespace dyn::perf {

namespace {

CacheGroups groups_of(const ModelSpec& model, int tensor = 1, const EngineConfig& config = {}) {
  return cache_groups(model, Precision::bf16, tensor, config);
}

MemoryUse memory_of(const ModelSpec& model, const EngineConfig& config) {
  PerfTarget target;
  target.model = model;
  target.weights = Precision::mxfp4;
  target.kv_cache = Precision::bf16;
  target.engine = config.kind;
  return memory_use(target, find_gpu("h200"), config);
}

}  // namespace

TEST_CASE("Layers are put into groups of equally many, as vLLM 0.32 does it") {
  CHECK_FALSE(groups_of(test::llama_8b()).split());
  const CacheGroups oss = groups_of(test::gpt_oss_120b());
  CHECK(oss.layers == 18);
  CHECK(oss.sliding == 1);
  CHECK(oss.window == 128);
  // 62 layers, every sixth of which keeps all: 52 = 5 x 10 + 2.
  const CacheGroups gemma = groups_of(find_model("google/gemma-3-27b-it"));
  CHECK(gemma.layers == 10);
  CHECK(gemma.sliding == 6);
  CHECK(gemma.window == 1024);
  // A state of 8 x 128 x 128 fp32 values and 1536 x 3 bf16 ones; a block's KV takes 64 KiB a layer.
  const CacheGroups hybrid = groups_of(find_model("Qwen3.5-397B-A17B"), 8);
  CHECK(hybrid.layers == 15);
  CHECK(hybrid.sliding == 0);
  CHECK(hybrid.linear == 3);
  CHECK(hybrid.state_blocks == 9);
}

TEST_CASE("Few more sliding layers than others share one group with them in size") {
  ModelSpec model = test::llama_8b();  // 32 layers
  model.attention.sliding_window = 256;
  model.attention.sliding_layers = 18;  // 14 keep all
  CHECK(groups_of(model).layers == 18);
  CHECK(groups_of(model).sliding == 1);
  model.attention.sliding_layers = 20;  // 12 keep all
  CHECK(groups_of(model).layers == 12);
  CHECK(groups_of(model).sliding == 2);
}

TEST_CASE("Llama-4 is split on demand, vLLM's other models unless told otherwise") {
  EngineConfig on;
  on.hybrid_kv_cache = true;
  EngineConfig off;
  off.hybrid_kv_cache = false;
  const ModelSpec llama = find_model("meta-llama/Llama-4-Scout-17B-16E-Instruct");
  CHECK_FALSE(groups_of(llama).split());
  CHECK(groups_of(llama, 1, on).sliding == 3);
  CHECK(keeps_windows(llama, {}));
  CHECK_FALSE(groups_of(test::gpt_oss_120b(), 1, off).split());
}

TEST_CASE("A page has one group's KV; without groups it has all layers', and windows take none") {
  EngineConfig config;
  const MemoryUse split = memory_of(test::gpt_oss_120b(), config);
  CHECK(split.kv_bytes_per_block == Bytes(18 * 2 * 8 * 64 * 2 * 64));
  CHECK(split.sequence_state == Bytes(0));
  config.hybrid_kv_cache = false;
  const MemoryUse whole = memory_of(test::gpt_oss_120b(), config);
  CHECK(whole.kv_bytes_per_block == Bytes(36 * 2 * 8 * 64 * 2 * 64));
  CHECK(whole.sequence_state == Bytes(0));
  CHECK(std::abs(split.kv_blocks - 2 * whole.kv_blocks) <= 1);
}

TEST_CASE("Where all layers slide they are one group, and none keeps the whole context") {
  ModelSpec model = test::llama_8b();
  model.attention.sliding_window = 4096;
  model.attention.sliding_layers = 32;
  const CacheGroups groups = groups_of(model);
  CHECK(groups.whole == 0);
  CHECK(groups.layers == 32);
  CHECK(groups.sliding == 1);
  CHECK(groups.split());
  CHECK(groups.all_pages(1'000'000, 8192, 64, 0) == (4095 + 8192 + 63) / 64 + 1);
  CHECK(groups.all_pages(10, 8192, 64, 0) == 10);
  CHECK(groups.recycled_pages(100'000, 64) == 65);
  CHECK_FALSE(keeps_windows(model, {}));
  // The memory holds as many tokens as if all kept everything: sequences take less of it.
  const MemoryUse use = memory_of(model, {});
  CHECK(use.kv_bytes_per_block == Bytes(32 * 2 * 8 * 128 * 2 * 64));
  CHECK(use.sequence_state == Bytes(0));
  CHECK(use.kv_blocks == memory_of(test::llama_8b(), {}).kv_blocks);
  EngineConfig off;
  off.hybrid_kv_cache = false;
  CHECK(groups_of(model, 1, off).whole == 1);
  CHECK_FALSE(groups_of(model, 1, off).split());
  CHECK(keeps_windows(model, off));
  for (const char* other : {"sglang", "trtllm"}) {
    EngineConfig config;
    config.kind = other;
    CHECK(groups_of(model, 1, config).whole == 1);
    CHECK(keeps_windows(model, config));
    CHECK(memory_of(model, config).kv_bytes_per_block == use.kv_bytes_per_block);
  }
}

TEST_CASE("Sequences hold as many pages of windows as vLLM admits them for") {
  CacheGroups groups;
  groups.sliding = 2;
  groups.window = 128;
  CHECK(groups.window_blocks(8192, 64) == (127 + 8192 + 63) / 64 + 1);
  CHECK(groups.recycled_pages(10'000, 64) == 2 * 3);
  CHECK(groups.recycled_pages(64, 64) == 2);
  CHECK(groups.most_pages(1000, 8192, 64, 0) == 2 * groups.window_blocks(8192, 64));
  CHECK(groups.most_pages(3, 8192, 64, 0) == 6);
  groups = {};
  groups.linear = 3;
  groups.state_blocks = 9;
  CHECK(groups.recycled_pages(1, 64) == 27);
  CHECK(groups.most_pages(1, 8192, 64, 1) == 3 * 9 * 3);
}

}  // namespace dyn::perf
