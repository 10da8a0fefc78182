#include "dyn/policy/disaggregation.h"

#include <catch2/catch.hpp>

#include "dyn/core/catalogue.h"

namespace dyn::policy {
namespace {

TEST_CASE("by default no prompt is computed by a decode worker") {
  CHECK_FALSE(DisaggregationSpec{}.ever_local());
  CHECK_FALSE(prefill_locally({}, {1, 0, 1'000'000}));
}

TEST_CASE("short, mostly cached or waiting prompts are computed where they are decoded") {
  DisaggregationSpec spec;
  spec.local_prefill = Tokens(256);
  CHECK(prefill_locally(spec, {256, 0, 0}));
  CHECK_FALSE(prefill_locally(spec, {257, 0, 0}));
  CHECK(prefill_locally(spec, {4000, 3744, 0}));
  CHECK(prefill_locally(spec, {1, 1, 0}));
  spec = {};
  spec.local_cached_share = 0.75;
  CHECK(prefill_locally(spec, {4000, 3000, 0}));
  CHECK_FALSE(prefill_locally(spec, {4000, 2999, 0}));
  spec = {};
  spec.local_above_queued = 3;
  CHECK(prefill_locally(spec, {4000, 0, 3}));
  CHECK_FALSE(prefill_locally(spec, {4000, 0, 2}));
}

TEST_CASE("each rank that keeps a copy of the KV receives one") {
  const ModelSpec llama = find_model("meta-llama/Llama-3.1-70B-Instruct");  // 8 KV heads
  const Bytes one = llama.kv_bytes_per_token(Precision::bf16, 1);
  const auto received = [&](const ModelSpec& model, Bytes bytes, int tensor) {
    ParallelLayout layout;
    layout.tensor = tensor;
    return received_per_token(bytes, model, Precision::bf16, layout);
  };
  CHECK(received(llama, one, 1) == one);
  CHECK(received(llama, one, 8) == one);
  CHECK(received(llama, one, 16) == one * 2);
  const ModelSpec deepseek = find_model("deepseek-ai/DeepSeek-V3");  // latent attention
  const Bytes latent = deepseek.kv_bytes_per_token(Precision::bf16, 1);
  CHECK(received(deepseek, latent, 8) == latent * 8);
  CHECK(received(ModelSpec{}, Bytes(100), 8) == Bytes(100));
}

}  // namespace
}  // namespace dyn::policy
