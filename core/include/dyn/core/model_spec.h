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
  bool output_gate = false;  ///< grouped_query: queries carry a gate of the output, as wide again
  // DSA only (latent): an indexer chooses the `index_topk` tokens that each query attends to.
  int index_heads = 0;
  int index_head_dim = 0;  ///< of the one key that an indexer keeps per token
  int index_topk = 0;      ///< tokens; 0: attention is not sparse
  int index_layers = 0;    ///< layers with an indexer; the others use the choice of an earlier one
  bool operator==(const AttentionSpec&) const = default;
};

/// The layers with a gated delta rule in place of attention (Qwen3-Next, Qwen3.5): a constant
/// state per sequence, and a short convolution over queries, keys and values.
struct LinearAttentionSpec {
  int layers = 0;  ///< of the model's; the others have its AttentionSpec
  int key_heads = 0;
  int value_heads = 0;
  int key_head_dim = 0;
  int value_head_dim = 0;
  int conv_kernel = 0;  ///< tokens

  /// Values per token: queries and keys together, then values (and as many of an output gate).
  std::int64_t key_values() const { return 2 * std::int64_t{key_heads} * key_head_dim; }
  std::int64_t values() const { return std::int64_t{value_heads} * value_head_dim; }
  bool operator==(const LinearAttentionSpec&) const = default;
};

/// The experts of a mixture-of-experts model.
struct MoeSpec {
  int experts = 0;
  int experts_per_token = 0;
  std::int64_t expert_intermediate = 0;
  int shared_experts = 0;  ///< always active, of `shared_intermediate` in all
  std::int64_t shared_intermediate = 0;
  int dense_layers = 0;       ///< layers with a dense MLP of `intermediate` instead
  bool dense_spread = false;  ///< dense layers alternate with sparse ones, else they come first
  bool operator==(const MoeSpec&) const = default;
};

/// What makes tokens of a multimodal model's images: a transformer in bf16 over patches that attend
/// to each other in both directions, and a projection of merge x merge patches to a token.
struct VisionSpec {
  int layers = 0;
  std::int64_t hidden = 0;
  std::int64_t intermediate = 0;
  int heads = 0;
  bool gated_mlp = false;
  int patch = 14;         ///< pixels a side
  int merge = 2;          ///< patches a side that make one token
  bool pooled = false;    ///< by their mean (Gemma 3), else side by side
  int window = 0;         ///< patches that those of windowed layers attend to; 0: no such layers
  int window_layers = 0;  ///< of the layers
  int image_size = 0;     ///< pixels a side that every image is scaled to; 0: its own
  std::int64_t max_pixels = 0;  ///< larger images are scaled down to it; 0: none are
  int deepstack = 0;            ///< further layers whose output goes with each token (Qwen3-VL: 3)

  /// Patches and tokens of an image of so many pixels (>= 1), scaled as the model's processor does:
  /// each side to the nearest multiple of patch * merge.
  std::int64_t patches(int width, int height) const;
  std::int64_t tokens(int width, int height) const {
    return patches(width, height) / merge / merge;
  }
  /// Parameters: of the embedding of patches, of all layers, and of what projects to `out` values a
  /// token.
  std::int64_t embedding_parameters() const { return std::int64_t{6} * patch * patch * hidden; }
  std::int64_t layer_parameters() const;
  std::int64_t projection_parameters(std::int64_t out) const;
  std::int64_t parameters(std::int64_t out) const {
    return embedding_parameters() + layer_parameters() + projection_parameters(out);
  }
  bool operator==(const VisionSpec&) const = default;
};

/// What a checkpoint of a model in a 4-bit format quantises; the rest of it is in bf16. Wider
/// formats (fp8, int8) apply to every matrix but embeddings, lm_head and routers.
enum class FourBitScope {
  all,
  mlp,      ///< dense MLPs and experts, not attention
  experts,  ///< routed experts only
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
  std::optional<LinearAttentionSpec> linear;
  std::optional<MoeSpec> moe;
  std::optional<VisionSpec> vision;  ///< none: text alone
  int draft_layers = 0;  ///< MTP layers in the checkpoint, of which parameters() counts none
  std::int64_t max_context = 0;                ///< tokens
  Precision native_weights = Precision::bf16;  ///< what the published checkpoint holds
  FourBitScope four_bit = FourBitScope::all;
  int int4_group = 128;  ///< int4 weights that share a bf16 scale

  bool operator==(const ModelSpec&) const = default;

  /// Bytes of the embeddings of one image token, in bf16. 0 without a vision encoder.
  Bytes embedding_bytes() const { return Bytes(vision ? 2 * hidden * (1 + vision->deepstack) : 0); }
  /// Bytes per weight stored as `weights`, scales included.
  double bytes_per_weight(Precision weights) const;

  /// Layers with attention: all but the linear ones.
  int attention_layers() const { return layers - (linear ? linear->layers : 0); }
  /// Attention layers that keep the KV of the whole context: all, unless some but not all slide.
  int whole_context_layers() const;
  /// Parameters in all, embeddings included.
  std::int64_t parameters() const;
  /// Parameters that one token uses: all but the experts it is not routed to.
  std::int64_t active_parameters() const;
  /// KV bytes one token adds on one GPU of a tensor-parallel group of `tp`, over all layers that
  /// keep the whole context, the keys of an indexer included.
  Bytes kv_bytes_per_token(Precision kv, int tp) const;
  /// The same of one such layer. Indexer keys are fp8 with an fp32 scale.
  double kv_bytes_per_layer(Precision kv, int tp) const;
  /// Bytes of one sequence that do not grow with its context, on one GPU of `tp`: the windows of
  /// sliding layers, and the fp32 states and bf16 convolution inputs of linear layers.
  Bytes kv_bytes_per_sequence(Precision kv, int tp) const;
  /// Of these the states of linear layers and their convolution inputs.
  Bytes state_bytes(int tp) const;
};

}  // namespace dyn
