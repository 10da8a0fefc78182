// What a model is, as a plan writes it down.
#include "dyn/core/schemas.h"

namespace dyn {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 40;

}  // namespace

void describe(ObjectSchema<AttentionSpec>& s) {
  s.about("attention", "The attention of every layer, before any parallelism.");
  s.field("kind", &AttentionSpec::kind, "How keys and values are kept.");
  s.field("heads", &AttentionSpec::heads, "Query heads.").required().between(1, 1'000'000);
  s.field("kv_heads", &AttentionSpec::kv_heads, "Key/value heads (grouped_query).")
      .between(0, 1'000'000);
  s.field("head_dim", &AttentionSpec::head_dim, "Values per head of queries and keys.")
      .required()
      .between(1, 1'000'000);
  const auto brief = [&s](const char* key, int AttentionSpec::*member, const char* doc) {
    s.field(key, member, doc).between(0, 100'000'000).brief();
  };
  brief("q_lora_rank", &AttentionSpec::q_lora_rank,
        "Rank of the query projection; 0 if direct (latent).");
  brief("kv_lora_rank", &AttentionSpec::kv_lora_rank, "Size of the latent per token (latent).");
  brief("qk_rope_head_dim", &AttentionSpec::qk_rope_head_dim, "Rotary part of a head (latent).");
  brief("qk_nope_head_dim", &AttentionSpec::qk_nope_head_dim, "Other part of a head (latent).");
  brief("v_head_dim", &AttentionSpec::v_head_dim, "Values per value head (latent).");
  brief("sliding_window", &AttentionSpec::sliding_window,
        "Tokens that sliding layers see; 0 if there are none.");
  brief("sliding_layers", &AttentionSpec::sliding_layers, "Layers with a sliding window.");
  s.field("qkv_bias", &AttentionSpec::qkv_bias, "Whether the projections have a bias.").brief();
  s.field("qk_norm", &AttentionSpec::qk_norm, "Whether queries and keys are normalised.").brief();
  s.field("output_gate", &AttentionSpec::output_gate,
          "Whether queries carry a gate of the output, as wide again.")
      .brief();
  brief("index_heads", &AttentionSpec::index_heads, "Heads of a sparse attention's indexer.");
  brief("index_head_dim", &AttentionSpec::index_head_dim, "Values of the key that it keeps.");
  brief("index_topk", &AttentionSpec::index_topk,
        "Tokens that each query attends to by its choice; 0 if attention is not sparse.");
  brief("index_layers", &AttentionSpec::index_layers,
        "Layers with an indexer; the others use the choice of an earlier one.");
  s.check([](const AttentionSpec& attention, Checker& checker) {
    const bool latent = attention.kind == AttentionKind::latent;
    if (!latent && attention.kv_heads < 1) {
      checker.error("kv_heads", "grouped-query attention needs kv_heads");
    }
    if (!latent && attention.kv_heads > 0 && attention.heads % attention.kv_heads != 0) {
      checker.error("kv_heads",
                    "kv_heads must divide heads (" + std::to_string(attention.heads) + ")");
    }
    if (latent && attention.kv_lora_rank < 1) {
      checker.error("kv_lora_rank", "latent attention needs kv_lora_rank");
    }
  });
}

void describe(ObjectSchema<LinearAttentionSpec>& s) {
  s.about("linear_attention", "The layers with a gated delta rule in place of attention.");
  s.field("layers", &LinearAttentionSpec::layers, "How many of the model's.")
      .required()
      .between(1, 1'000'000);
  s.field("key_heads", &LinearAttentionSpec::key_heads, "Heads of queries and keys.")
      .required()
      .between(1, 1'000'000);
  s.field("value_heads", &LinearAttentionSpec::value_heads, "Heads of values.")
      .required()
      .between(1, 1'000'000);
  s.field("key_head_dim", &LinearAttentionSpec::key_head_dim, "Values per head of keys.")
      .required()
      .between(1, 1'000'000);
  s.field("value_head_dim", &LinearAttentionSpec::value_head_dim, "Values per head of values.")
      .required()
      .between(1, 1'000'000);
  s.field("conv_kernel", &LinearAttentionSpec::conv_kernel, "Tokens that the convolution sees.")
      .required()
      .between(1, 1'000);
}

void describe(ObjectSchema<VisionSpec>& s) {
  s.about("vision", "The encoder that makes tokens of images.");
  s.field("layers", &VisionSpec::layers, "Transformer layers.").required().between(1, 10'000);
  s.field("hidden", &VisionSpec::hidden, "Values of a patch.").required().between(1, 1'000'000);
  s.field("intermediate", &VisionSpec::intermediate, "Intermediate size of the MLP.")
      .required()
      .between(1, 1'000'000);
  s.field("heads", &VisionSpec::heads, "Heads; they divide 'hidden'.")
      .required()
      .between(1, 10'000);
  s.field("gated_mlp", &VisionSpec::gated_mlp, "Whether the MLP has a gate.");
  s.field("patch", &VisionSpec::patch, "Pixels a side of a patch.").between(1, 10'000);
  s.field("merge", &VisionSpec::merge, "Patches a side that make one token.").between(1, 1'000);
  s.field("pooled", &VisionSpec::pooled, "Whether they are merged by their mean.").brief();
  s.field("window", &VisionSpec::window,
          "Patches that those of windowed layers attend to; 0 if there are no such layers.")
      .between(0, 1'000'000)
      .brief();
  s.field("window_layers", &VisionSpec::window_layers, "Layers with such windows.")
      .between(0, 10'000)
      .brief();
  s.field("image_size", &VisionSpec::image_size,
          "Pixels a side that every image is scaled to; 0: its own size.")
      .between(0, 100'000)
      .brief();
  s.field("max_pixels", &VisionSpec::max_pixels,
          "Images with more pixels are scaled down to so many; 0: none are.")
      .between(0, kMost)
      .brief();
  s.field("deepstack", &VisionSpec::deepstack,
          "Further layers whose output goes with each token to the language model.")
      .between(0, 1'000)
      .brief();
  s.check([](const VisionSpec& vision, Checker& checker) {
    if (vision.heads > 0 && vision.hidden % vision.heads != 0) {
      checker.error("heads", "heads must divide hidden (" + std::to_string(vision.hidden) + ")");
    }
  });
}

void describe(ObjectSchema<MoeSpec>& s) {
  s.about("moe", "The experts of a mixture-of-experts model.");
  s.field("experts", &MoeSpec::experts, "Routed experts of a layer.")
      .required()
      .between(1, 1'000'000);
  s.field("experts_per_token", &MoeSpec::experts_per_token, "Routed experts that a token uses.")
      .required()
      .between(1, 1'000'000);
  s.field("expert_intermediate", &MoeSpec::expert_intermediate, "Intermediate size of an expert.")
      .required()
      .between(1, kMost);
  s.field("shared_experts", &MoeSpec::shared_experts, "Experts that every token uses.")
      .between(0, 1'000'000)
      .brief();
  s.field("shared_intermediate", &MoeSpec::shared_intermediate,
          "Intermediate size of the shared experts in all.")
      .between(0, kMost)
      .brief();
  s.field("dense_layers", &MoeSpec::dense_layers, "Layers with a dense MLP instead.")
      .between(0, 1'000'000)
      .brief();
  s.field("dense_spread", &MoeSpec::dense_spread,
          "Whether these alternate with sparse ones; else they come first.")
      .brief();
  s.check([](const MoeSpec& moe, Checker& checker) {
    if (moe.experts_per_token > moe.experts) {
      checker.error("experts_per_token", "more experts per token than there are experts");
    }
  });
}

void describe(ObjectSchema<ModelSpec>& s) {
  s.about("model", "What a decoder-only transformer is, as its config.json says.");
  s.field("name", &ModelSpec::name, "Catalogue or repository name.").required().not_empty();
  s.field("architecture", &ModelSpec::architecture, "Class name, such as Qwen3ForCausalLM.");
  s.field("layers", &ModelSpec::layers, "Transformer layers.").required().between(1, 1'000'000);
  s.field("hidden", &ModelSpec::hidden, "Size of the residual stream.")
      .required()
      .between(1, kMost);
  s.field("intermediate", &ModelSpec::intermediate,
          "Intermediate size of a dense MLP; 0 where every layer has experts.")
      .between(0, kMost);
  s.field("vocabulary", &ModelSpec::vocabulary, "Tokens of the vocabulary.")
      .required()
      .between(1, kMost);
  s.field("tied_embeddings", &ModelSpec::tied_embeddings,
          "Whether input and output embeddings are the same.");
  s.field("gated_mlp", &ModelSpec::gated_mlp, "Whether the MLP has a gate.");
  s.field("attention", &ModelSpec::attention, "The attention of every layer.").required();
  s.field("moe", &ModelSpec::moe, "The experts, if there are any.").unset("a dense model");
  s.field("linear", &ModelSpec::linear, "The layers without attention, if there are any.")
      .brief()
      .unset("every layer has attention");
  s.field("vision", &ModelSpec::vision, "The encoder of its images.").brief().unset("text alone");
  s.field("draft_layers", &ModelSpec::draft_layers, "Layers that draft tokens (MTP).")
      .between(0, 1'000)
      .brief();
  s.field("max_context", &ModelSpec::max_context, "Longest context, in tokens.").between(0, kMost);
  s.field("native_weights", &ModelSpec::native_weights, "What the published checkpoint holds.");
  s.field("four_bit", &ModelSpec::four_bit, "What 4-bit weights apply to; the rest is in bf16.")
      .brief();
  s.field("int4_group", &ModelSpec::int4_group, "int4 weights that share a scale.")
      .between(1, 1'000'000)
      .brief();
  s.check([](const ModelSpec& model, Checker& checker) {
    if (model.linear && model.attention.sliding_layers > 0) {
      checker.error("linear",
                    "'" + model.name + "' has both linear layers and layers with a sliding window",
                    "no engine runs such a model: beside linear layers they know only ones that "
                    "attend to the whole context");
    }
  });
}

}  // namespace dyn
