#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "dyn/core/precision.h"
#include "dyn/core/quantity.h"

namespace dyn {

enum class AttentionKind {
  grouped_query,  ///< MHA, GQA and MQA: heads share `kv_heads` key/value heads
  latent,         ///< MLA: one compressed latent per token, not sharded by tensor parallelism
};

/// The attention of every layer. Sizes are per whole model, before any parallelism.
struct AttentionSpec {
  AttentionKind kind = AttentionKind::grouped_query;
  int heads = 0;
  int kv_heads = 0;  ///< grouped_query only
  int head_dim = 0;  ///< of queries and keys; for MLA nope + rope
  // MLA only (DeepSeek-V3: 1536, 512, 64, 128, 128).
  int q_lora_rank = 0;  ///< 0: queries are projected directly
  int kv_lora_rank = 0;
  int qk_rope_head_dim = 0;
  int qk_nope_head_dim = 0;
  int v_head_dim = 0;
  // Sliding window: `sliding_layers` of the layers see at most `sliding_window` tokens.
  int sliding_window = 0;  ///< tokens; 0: none
  int sliding_layers = 0;
  bool qkv_bias = false;
  bool qk_norm = false;
};

/// The experts of a mixture-of-experts model.
struct MoeSpec {
  int experts = 0;
  int experts_per_token = 0;
  std::int64_t expert_intermediate = 0;
  int shared_experts = 0;  ///< always active, of `shared_intermediate` in all
  std::int64_t shared_intermediate = 0;
  int dense_layers = 0;  ///< layers with a dense MLP of `intermediate` instead
};

/// What a decoder-only transformer is, as its Hugging Face config.json says.
struct ModelSpec {
  std::string name;          ///< catalogue or repository name, such as Qwen/Qwen3-32B
  std::string architecture;  ///< such as Qwen3ForCausalLM
  int layers = 0;
  std::int64_t hidden = 0;
  std::int64_t intermediate = 0;  ///< of a dense MLP; 0 where every layer has experts
  std::int64_t vocabulary = 0;
  bool tied_embeddings = false;
  bool gated_mlp = true;
  AttentionSpec attention;
  std::optional<MoeSpec> moe;
  std::int64_t max_context = 0;                ///< tokens
  Precision native_weights = Precision::bf16;  ///< what the published checkpoint holds

  /// Parameters in all, embeddings included.
  std::int64_t parameters() const;
  /// Parameters that one token uses: all but the experts it is not routed to.
  std::int64_t active_parameters() const;
  /// KV bytes one token adds on one GPU of a tensor-parallel group of `tp` (all layers).
  Bytes kv_bytes_per_token(Precision kv, int tp) const;
};

}  // namespace dyn
