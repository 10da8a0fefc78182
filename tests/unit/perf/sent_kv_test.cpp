#include "dyn/perf/sent_kv.h"

#include <catch2/catch.hpp>

#include "dyn/core/catalogue.h"
#include "dyn/core/random.h"
#include "sample_models.h"

namespace dyn::perf {

namespace {

/// Mistral-7B as it first was.
ModelSpec all_slide() {
  ModelSpec model = test::llama_8b();
  model.attention.sliding_window = 4096;
  model.attention.sliding_layers = model.layers;
  return model;
}

ModelSpec random_model(RandomStream& random) {
  ModelSpec model = test::llama_8b();
  model.layers = 1 + static_cast<int>(random.below(60));
  model.attention.kv_heads = 1 << random.below(5);
  model.attention.head_dim = 64 << random.below(3);
  if (random.below(4) != 0) {
    model.attention.sliding_window = 1 + static_cast<int>(random.below(5000));
    model.attention.sliding_layers =
        static_cast<int>(random.below(static_cast<std::uint64_t>(model.layers) + 1));
  }
  if (random.below(2) == 0) {
    LinearAttentionSpec linear{1 + static_cast<int>(random.below(40)), 16, 64, 128, 128, 4};
    model.layers += linear.layers;
    model.linear = linear;
  }
  return model;
}

}  // namespace

TEST_CASE("Each rank that keeps a copy of the KV receives one") {
  const auto received = [](const ModelSpec& model, int tensor) {
    return sent_kv(model, Precision::bf16, tensor, false).per_token;
  };
  const ModelSpec llama = test::llama_70b();  // 8 KV heads
  const Bytes one = llama.kv_bytes_per_token(Precision::bf16, 1);
  CHECK(received(llama, 1) == one);
  CHECK(received(llama, 8) == one);
  CHECK(received(llama, 16) == one * 2);
  const ModelSpec deepseek = test::deepseek_v3();  // latent attention
  CHECK(received(deepseek, 8) == deepseek.kv_bytes_per_token(Precision::bf16, 1) * 8);
}

TEST_CASE("Layers with windows are sent the last of them, the others all tokens") {
  const std::int64_t layer = 2 * 8 * 64 * 2;
  const SentKv oss = sent_kv(test::gpt_oss_120b(), Precision::bf16, 1, false);
  CHECK(oss.of(0) == Bytes(0));
  CHECK(oss.of(100) == Bytes(36 * layer * 100));
  CHECK(oss.of(12'000) == Bytes(18 * layer * 12'000 + 18 * layer * 128));
  CHECK(oss.early(12'000) == Bytes(18 * layer * 12'000));
  CHECK(oss.of_mean(12'000.5) == 18.0 * layer * 12'000.5 + 18.0 * layer * 128);
  const SentKv kept = sent_kv(test::gpt_oss_120b(), Precision::bf16, 1, true);
  CHECK(kept.of(12'000) == Bytes(36 * layer * 12'000));
  // 16 ranks of 8 heads: two copies of each.
  CHECK(sent_kv(test::gpt_oss_120b(), Precision::bf16, 16, false).of(12'000) == oss.of(12'000) * 2);
}

TEST_CASE("Where all layers slide nothing but windows is sent") {
  const std::int64_t token = 32 * 2 * 8 * 128 * 2;
  const SentKv sent = sent_kv(all_slide(), Precision::bf16, 1, false);
  CHECK(sent.per_token == Bytes(0));
  CHECK(sent.of(4000) == Bytes(token * 4000));
  CHECK(sent.of(40'000) == Bytes(token * 4096));
  CHECK(sent_kv(all_slide(), Precision::bf16, 1, true).of(40'000) == Bytes(token * 40'000));
}

TEST_CASE("A state is sent once, whatever the prompt's length") {
  const ModelSpec model = find_model("Qwen/Qwen3.5-397B-A17B");
  const SentKv sent = sent_kv(model, Precision::bf16, 1, false);
  // 45 layers of 64 x 128 x 128 fp32 values and 3 bf16 inputs of 12288 channels.
  const std::int64_t state = 45 * (64 * 128 * 128 * 4 + 12'288 * 3 * 2);
  CHECK(sent.per_sequence == Bytes(state));
  CHECK(sent.of(1) == Bytes(15 * 2 * 2 * 256 * 2 + state));
  CHECK(sent.of(9000) == Bytes(15 * 2 * 2 * 256 * 2 * 9000 + state));
  CHECK(sent_kv(model, Precision::bf16, 8, false).per_sequence == Bytes(state));
}

TEST_CASE("What is sent follows what a plan says of a token") {
  const SentKv oss = sent_kv(test::gpt_oss_120b(), Precision::bf16, 1, false);
  CHECK(oss.scaled(oss.per_token, oss.per_token) == oss);
  CHECK(oss.scaled(oss.per_token * 2, oss.per_token).of(500) == oss.of(500) * 2);
  CHECK(oss.scaled(Bytes(0), oss.per_token).of(500) == Bytes(0));
  CHECK(sent_kv(ModelSpec{}, Precision::bf16, 8, false).scaled(Bytes(100), Bytes(0)).of(3) ==
        Bytes(300));
}

TEST_CASE("A block below the device has the KV of all layers where windows are kept") {
  const std::int64_t layer = 2 * 8 * 64 * 2;
  CHECK(stored_per_token(test::gpt_oss_120b(), Precision::bf16, true) == Bytes(36 * layer));
  CHECK(stored_per_token(test::gpt_oss_120b(), Precision::bf16, false) == Bytes(18 * layer));
  CHECK(stored_per_token(all_slide(), Precision::bf16, false) == Bytes(32 * 2 * 8 * 128 * 2));
}

TEST_CASE("More tokens never take fewer bytes, nor more than if all layers kept the context") {
  RandomStream random(17, "sent_kv");
  for (int round = 0; round < 500; ++round) {
    ModelSpec model = random_model(random);
    const int tensor = 1 << random.below(5);
    const bool keeps = random.below(3) == 0;
    const SentKv sent = sent_kv(model, Precision::bf16, tensor, keeps);
    model.attention.sliding_window = 0;
    const SentKv full = sent_kv(model, Precision::bf16, tensor, keeps);
    const bool windows = sent.window > 0;
    INFO("round " << round);
    REQUIRE(full.window == 0);
    std::int64_t tokens = 0;
    for (Bytes before{0}; tokens < 20'000;
         tokens += 1 + static_cast<std::int64_t>(random.below(900))) {
      const Bytes now = sent.of(tokens);
      REQUIRE(now >= before);
      REQUIRE(now <= full.of(tokens));
      REQUIRE(sent.early(tokens) <= now);
      REQUIRE((tokens > sent.window || now == full.of(tokens) || !windows));
      REQUIRE((windows || now == full.of(tokens)));
      REQUIRE(sent.of_mean(static_cast<double>(tokens)) == static_cast<double>(now.count()));
      before = now;
    }
  }
}

}  // namespace dyn::perf
