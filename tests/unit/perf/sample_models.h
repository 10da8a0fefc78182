#pragma once

#include <algorithm>
#include <string>

#include "dyn/core/model_spec.h"

namespace dyn::perf::test {

/// Models that the tests of this room use, written out so that they do not change under them.
inline ModelSpec dense_model(const std::string& name, int layers, std::int64_t hidden,
                             std::int64_t intermediate, int heads, int kv_heads, int head_dim,
                             std::int64_t vocabulary) {
  ModelSpec m;
  m.name = name;
  m.layers = layers;
  m.hidden = hidden;
  m.intermediate = intermediate;
  m.vocabulary = vocabulary;
  m.max_context = 131072;
  m.attention.heads = heads;
  m.attention.kv_heads = kv_heads;
  m.attention.head_dim = head_dim;
  return m;
}

inline ModelSpec llama_8b() {
  return dense_model("meta-llama/Llama-3.1-8B", 32, 4096, 14336, 32, 8, 128, 128256);
}

inline ModelSpec llama_70b() {
  return dense_model("meta-llama/Llama-3.1-70B", 80, 8192, 28672, 64, 8, 128, 128256);
}

inline ModelSpec qwen3_32b() {
  ModelSpec m = dense_model("Qwen/Qwen3-32B", 64, 5120, 25600, 64, 8, 128, 151936);
  m.attention.qk_norm = true;
  return m;
}

inline ModelSpec qwen3_30b_a3b() {
  ModelSpec m = dense_model("Qwen/Qwen3-30B-A3B", 48, 2048, 0, 32, 4, 128, 151936);
  m.attention.qk_norm = true;
  m.moe = MoeSpec{128, 8, 768, 0, 0, 0};
  return m;
}

inline ModelSpec deepseek_v3() {
  ModelSpec m = dense_model("deepseek-ai/DeepSeek-V3", 61, 7168, 18432, 128, 128, 192, 129280);
  m.attention.kind = AttentionKind::latent;
  m.attention.q_lora_rank = 1536;
  m.attention.kv_lora_rank = 512;
  m.attention.qk_rope_head_dim = 64;
  m.attention.qk_nope_head_dim = 128;
  m.attention.v_head_dim = 128;
  m.moe = MoeSpec{256, 8, 2048, 1, 2048, 3};
  return m;
}

inline ModelSpec gpt_oss_120b() {
  ModelSpec m = dense_model("openai/gpt-oss-120b", 36, 2880, 0, 64, 8, 64, 201088);
  m.attention.sliding_window = 128;
  m.attention.sliding_layers = 18;
  m.attention.qkv_bias = true;
  m.moe = MoeSpec{128, 4, 2880, 0, 0, 0};
  return m;
}

}  // namespace dyn::perf::test
