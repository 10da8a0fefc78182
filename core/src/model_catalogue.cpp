#include <algorithm>
#include <cctype>
#include <filesystem>
#include <iterator>
#include <utility>

#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "model_vision.h"

// Every figure is from the config.json that the publisher put beside the weights, in the
// repository of that name on huggingface.co.

namespace dyn {
namespace {

/// The sizes that a dense grouped-query model is described by; 0 for head_dim: hidden / heads.
struct Shape {
  int layers;
  std::int64_t hidden;
  int heads;
  int kv_heads;
  int head_dim;
  std::int64_t intermediate;
  std::int64_t vocabulary;
  std::int64_t context;
};

ModelSpec dense(std::string name, std::string architecture, const Shape& shape) {
  ModelSpec model;
  model.name = std::move(name);
  model.architecture = std::move(architecture);
  model.layers = shape.layers;
  model.hidden = shape.hidden;
  model.intermediate = shape.intermediate;
  model.vocabulary = shape.vocabulary;
  model.max_context = shape.context;
  model.attention.heads = shape.heads;
  model.attention.kv_heads = shape.kv_heads;
  model.attention.head_dim =
      shape.head_dim > 0 ? shape.head_dim : static_cast<int>(shape.hidden / shape.heads);
  return model;
}

using Models = std::vector<ModelSpec>;

/// A model, and the same under further names (instruct and later versions of one shape).
void add(Models& models, const ModelSpec& model, std::initializer_list<const char*> names = {}) {
  models.push_back(model);
  for (const char* name : names) {
    models.push_back(model);
    models.back().name = name;
  }
}

/// One shape with another longest context.
ModelSpec with_context(ModelSpec model, const char* name, std::int64_t context) {
  model.name = name;
  model.max_context = context;
  return model;
}

/// A multimodal model: the language model with an encoder of images.
ModelSpec with_vision(ModelSpec model, const char* name, const char* architecture,
                      const VisionSpec& vision, std::int64_t context) {
  model.name = name;
  model.architecture = architecture;
  model.vision = vision;
  model.max_context = context;
  return model;
}

/// A quantised checkpoint of a model.
ModelSpec quantised(ModelSpec model, const char* name, Precision weights) {
  model.name = name;
  model.native_weights = weights;
  return model;
}

void add_llama(Models& models) {
  const std::string kind = "LlamaForCausalLM";
  add(models, dense("meta-llama/Meta-Llama-3-8B", kind, {32, 4096, 32, 8, 0, 14336, 128256, 8192}),
      {"meta-llama/Meta-Llama-3-8B-Instruct"});
  add(models, dense("meta-llama/Meta-Llama-3-70B", kind, {80, 8192, 64, 8, 0, 28672, 128256, 8192}),
      {"meta-llama/Meta-Llama-3-70B-Instruct"});
  const ModelSpec small =
      dense("meta-llama/Llama-3.1-8B", kind, {32, 4096, 32, 8, 0, 14336, 128256, 131072});
  add(models, small,
      {"meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Meta-Llama-3.1-8B",
       "meta-llama/Meta-Llama-3.1-8B-Instruct", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"});
  add(models, quantised(small, "nvidia/Llama-3.1-8B-Instruct-FP8", Precision::fp8));
  const ModelSpec middle =
      dense("meta-llama/Llama-3.1-70B", kind, {80, 8192, 64, 8, 0, 28672, 128256, 131072});
  add(models, middle,
      {"meta-llama/Llama-3.1-70B-Instruct", "meta-llama/Meta-Llama-3.1-70B",
       "meta-llama/Meta-Llama-3.1-70B-Instruct", "meta-llama/Llama-3.3-70B-Instruct",
       "deepseek-ai/DeepSeek-R1-Distill-Llama-70B"});
  add(models, quantised(middle, "nvidia/Llama-3.1-70B-Instruct-FP8", Precision::fp8),
      {"nvidia/Llama-3.3-70B-Instruct-FP8"});
  add(models, quantised(middle, "nvidia/Llama-3.3-70B-Instruct-FP4", Precision::fp4));
  const ModelSpec large =
      dense("meta-llama/Llama-3.1-405B", kind, {126, 16384, 128, 8, 0, 53248, 128256, 131072});
  add(models, large, {"meta-llama/Llama-3.1-405B-Instruct"});
  add(models, quantised(large, "meta-llama/Llama-3.1-405B-Instruct-FP8", Precision::fp8),
      {"nvidia/Llama-3.1-405B-Instruct-FP8"});
  ModelSpec one =
      dense("meta-llama/Llama-3.2-1B", kind, {16, 2048, 32, 8, 64, 8192, 128256, 131072});
  one.tied_embeddings = true;
  add(models, one, {"meta-llama/Llama-3.2-1B-Instruct"});
  ModelSpec three =
      dense("meta-llama/Llama-3.2-3B", kind, {28, 3072, 24, 8, 128, 8192, 128256, 131072});
  three.tied_embeddings = true;
  add(models, three, {"meta-llama/Llama-3.2-3B-Instruct"});
}

ModelSpec qwen2(const char* name, const Shape& shape, bool tied) {
  ModelSpec model = dense(name, "Qwen2ForCausalLM", shape);
  model.attention.qkv_bias = true;
  model.tied_embeddings = tied;
  return model;
}

void add_qwen2(Models& models) {
  const ModelSpec half = qwen2("Qwen/Qwen2.5-0.5B", {24, 896, 14, 2, 0, 4864, 151936, 32768}, true);
  add(models, half, {"Qwen/Qwen2.5-0.5B-Instruct"});
  const ModelSpec one =
      qwen2("Qwen/Qwen2.5-1.5B", {28, 1536, 12, 2, 0, 8960, 151936, 131072}, true);
  add(models, one);
  add(models, with_context(one, "Qwen/Qwen2.5-1.5B-Instruct", 32768));
  const ModelSpec three =
      qwen2("Qwen/Qwen2.5-3B", {36, 2048, 16, 2, 0, 11008, 151936, 32768}, true);
  add(models, three, {"Qwen/Qwen2.5-3B-Instruct"});
  const ModelSpec seven =
      qwen2("Qwen/Qwen2.5-7B", {28, 3584, 28, 4, 0, 18944, 152064, 131072}, false);
  add(models, seven);
  add(models, with_context(seven, "Qwen/Qwen2.5-7B-Instruct", 32768));
  const ModelSpec fourteen =
      qwen2("Qwen/Qwen2.5-14B", {48, 5120, 40, 8, 0, 13824, 152064, 131072}, false);
  add(models, fourteen);
  add(models, with_context(fourteen, "Qwen/Qwen2.5-14B-Instruct", 32768));
  const ModelSpec middle =
      qwen2("Qwen/Qwen2.5-32B", {64, 5120, 40, 8, 0, 27648, 152064, 131072}, false);
  add(models, middle, {"deepseek-ai/DeepSeek-R1-Distill-Qwen-32B"});
  add(models, with_context(middle, "Qwen/Qwen2.5-32B-Instruct", 32768),
      {"Qwen/Qwen2.5-Coder-32B-Instruct"});
  add(models, with_context(middle, "Qwen/QwQ-32B", 40960));
  const ModelSpec large =
      qwen2("Qwen/Qwen2.5-72B", {80, 8192, 64, 8, 0, 29568, 152064, 131072}, false);
  add(models, large);
  add(models, with_context(large, "Qwen/Qwen2.5-72B-Instruct", 32768));
  const char* vl = "Qwen2_5_VLForConditionalGeneration";
  const VisionSpec narrow = detail::qwen2_5_vision();
  VisionSpec wide = narrow;
  wide.intermediate = 3456;
  const auto see = [&](const ModelSpec& model, const char* name, const VisionSpec& vision) {
    add(models, with_vision(model, name, vl, vision, 128000));
  };
  see(three, "Qwen/Qwen2.5-VL-3B-Instruct", narrow);
  see(seven, "Qwen/Qwen2.5-VL-7B-Instruct", narrow);
  see(middle, "Qwen/Qwen2.5-VL-32B-Instruct", wide);
  see(large, "Qwen/Qwen2.5-VL-72B-Instruct", wide);
}

/// The multimodal model on top of a language model, where there is one.
void add_qwen3_vl(Models& models, const ModelSpec& text) {
  struct Row {
    const char* text;
    const char* name;
    VisionSpec vision;
  };
  const VisionSpec large = detail::qwen3_vision();
  VisionSpec small = large;
  small.layers = 24;
  small.hidden = 1024;
  small.intermediate = 4096;
  const Row rows[] = {
      {"Qwen/Qwen3-1.7B", "Qwen/Qwen3-VL-2B-Instruct", small},
      {"Qwen/Qwen3-4B", "Qwen/Qwen3-VL-4B-Instruct", small},
      {"Qwen/Qwen3-8B", "Qwen/Qwen3-VL-8B-Instruct", large},
      {"Qwen/Qwen3-32B", "Qwen/Qwen3-VL-32B-Instruct", large},
      {"Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-VL-30B-A3B-Instruct", large},
      {"Qwen/Qwen3-235B-A22B", "Qwen/Qwen3-VL-235B-A22B-Instruct", large},
  };
  for (const Row& row : rows) {
    if (text.name == row.text) {
      const char* kind =
          text.moe ? "Qwen3VLMoeForConditionalGeneration" : "Qwen3VLForConditionalGeneration";
      const ModelSpec model = with_vision(text, row.name, kind, row.vision, 262144);
      add(models, model);
      add(models, quantised(model, (model.name + "-FP8").c_str(), Precision::fp8_block));
    }
  }
}

void add_qwen3(Models& models) {
  struct Row {
    const char* name;
    const char* fp8;
    Shape shape;
    bool tied;
  };
  const Row rows[] = {
      {"Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B-FP8", {28, 1024, 16, 8, 128, 3072, 151936, 40960}, true},
      {"Qwen/Qwen3-1.7B", "Qwen/Qwen3-1.7B-FP8", {28, 2048, 16, 8, 128, 6144, 151936, 40960}, true},
      {"Qwen/Qwen3-4B", "Qwen/Qwen3-4B-FP8", {36, 2560, 32, 8, 128, 9728, 151936, 40960}, true},
      {"Qwen/Qwen3-8B", "Qwen/Qwen3-8B-FP8", {36, 4096, 32, 8, 128, 12288, 151936, 40960}, false},
      {"Qwen/Qwen3-14B", "Qwen/Qwen3-14B-FP8", {40, 5120, 40, 8, 128, 17408, 151936, 40960}, false},
      {"Qwen/Qwen3-32B", "Qwen/Qwen3-32B-FP8", {64, 5120, 64, 8, 128, 25600, 151936, 40960}, false},
  };
  for (const Row& row : rows) {
    ModelSpec model = dense(row.name, "Qwen3ForCausalLM", row.shape);
    model.attention.qk_norm = true;
    model.tied_embeddings = row.tied;
    add(models, model);
    add(models, quantised(model, row.fp8, Precision::fp8_block));
    add_qwen3_vl(models, model);
    if (model.name == "Qwen/Qwen3-32B") {
      add(models, quantised(model, "nvidia/Qwen3-32B-NVFP4", Precision::fp4),
          {"nvidia/Qwen3-32B-FP4"});
    }
  }
}

/// A model whose every layer has experts and no shared one.
ModelSpec sparse(const char* name, const char* architecture, const Shape& shape, int experts,
                 int experts_per_token) {
  ModelSpec model = dense(name, architecture, shape);
  MoeSpec moe;
  moe.experts = experts;
  moe.experts_per_token = experts_per_token;
  moe.expert_intermediate = std::exchange(model.intermediate, 0);
  model.moe = moe;
  return model;
}

void add_qwen3_moe(Models& models) {
  const char* kind = "Qwen3MoeForCausalLM";
  ModelSpec small =
      sparse("Qwen/Qwen3-30B-A3B", kind, {48, 2048, 32, 4, 128, 768, 151936, 40960}, 128, 8);
  small.attention.qk_norm = true;
  add(models, small);
  add_qwen3_vl(models, small);
  add(models, quantised(small, "Qwen/Qwen3-30B-A3B-FP8", Precision::fp8_block));
  const ModelSpec small_long = with_context(small, "Qwen/Qwen3-30B-A3B-Instruct-2507", 262144);
  add(models, small_long,
      {"Qwen/Qwen3-30B-A3B-Thinking-2507", "Qwen/Qwen3-Coder-30B-A3B-Instruct"});
  add(models, quantised(small_long, "Qwen/Qwen3-30B-A3B-Instruct-2507-FP8", Precision::fp8_block));
  ModelSpec large =
      sparse("Qwen/Qwen3-235B-A22B", kind, {94, 4096, 64, 4, 128, 1536, 151936, 40960}, 128, 8);
  large.attention.qk_norm = true;
  add(models, large);
  add_qwen3_vl(models, large);
  add(models, quantised(large, "Qwen/Qwen3-235B-A22B-FP8", Precision::fp8_block));
  add(models, quantised(large, "nvidia/Qwen3-235B-A22B-NVFP4", Precision::fp4));
  const ModelSpec large_long = with_context(large, "Qwen/Qwen3-235B-A22B-Instruct-2507", 262144);
  add(models, large_long, {"Qwen/Qwen3-235B-A22B-Thinking-2507"});
  add(models,
      quantised(large_long, "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", Precision::fp8_block));
  ModelSpec coder = sparse("Qwen/Qwen3-Coder-480B-A35B-Instruct", kind,
                           {62, 6144, 96, 8, 128, 2560, 151936, 262144}, 160, 8);
  coder.attention.qk_norm = true;
  add(models, coder);
  add(models, quantised(coder, "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8", Precision::fp8_block));
}

void add_mistral(Models& models) {
  const std::string kind = "MistralForCausalLM";
  ModelSpec first =
      dense("mistralai/Mistral-7B-v0.1", kind, {32, 4096, 32, 8, 0, 14336, 32000, 32768});
  first.attention.sliding_window = 4096;
  first.attention.sliding_layers = first.layers;
  add(models, first, {"mistralai/Mistral-7B-Instruct-v0.1"});
  add(models,
      dense("mistralai/Mistral-7B-Instruct-v0.2", kind, {32, 4096, 32, 8, 0, 14336, 32000, 32768}));
  add(models, dense("mistralai/Mistral-7B-v0.3", kind, {32, 4096, 32, 8, 0, 14336, 32768, 32768}),
      {"mistralai/Mistral-7B-Instruct-v0.3"});
  add(models, dense("mistralai/Mistral-Nemo-Instruct-2407", kind,
                    {40, 5120, 32, 8, 128, 14336, 131072, 131072}));
  add(models,
      dense("mistralai/Mistral-Small-24B-Instruct-2501", kind,
            {40, 5120, 32, 8, 128, 32768, 131072, 32768}),
      {"mistralai/Mistral-Small-24B-Base-2501"});
  add(models, dense("mistralai/Mistral-Large-Instruct-2411", kind,
                    {88, 12288, 96, 8, 128, 28672, 32768, 131072}));
  add(models,
      sparse("mistralai/Mixtral-8x7B-v0.1", "MixtralForCausalLM",
             {32, 4096, 32, 8, 0, 14336, 32000, 32768}, 8, 2),
      {"mistralai/Mixtral-8x7B-Instruct-v0.1"});
  add(models, sparse("mistralai/Mixtral-8x22B-v0.1", "MixtralForCausalLM",
                     {56, 6144, 48, 8, 0, 16384, 32000, 65536}, 8, 2));
  add(models, sparse("mistralai/Mixtral-8x22B-Instruct-v0.1", "MixtralForCausalLM",
                     {56, 6144, 48, 8, 0, 16384, 32768, 65536}, 8, 2));
}

/// Gemma ties its embeddings; `global_every`: the last of so many layers sees the whole context.
ModelSpec gemma(const char* name, const char* architecture, const Shape& shape, int window,
                int global_every) {
  ModelSpec model = dense(name, architecture, shape);
  model.tied_embeddings = true;
  model.attention.sliding_window = window;
  model.attention.sliding_layers = shape.layers - shape.layers / global_every;
  return model;
}

void add_gemma(Models& models) {
  const char* second = "Gemma2ForCausalLM";
  add(models,
      gemma("google/gemma-2-9b", second, {42, 3584, 16, 8, 256, 14336, 256000, 8192}, 4096, 2),
      {"google/gemma-2-9b-it"});
  add(models,
      gemma("google/gemma-2-27b", second, {46, 4608, 32, 16, 128, 36864, 256000, 8192}, 4096, 2),
      {"google/gemma-2-27b-it"});
  const char* third = "Gemma3ForConditionalGeneration";
  ModelSpec models3[] = {
      gemma("google/gemma-3-1b-it", "Gemma3ForCausalLM", {26, 1152, 4, 1, 256, 6912, 262144, 32768},
            512, 6),
      gemma("google/gemma-3-4b-it", third, {34, 2560, 8, 4, 256, 10240, 262208, 131072}, 1024, 6),
      gemma("google/gemma-3-12b-it", third, {48, 3840, 16, 8, 256, 15360, 262208, 131072}, 1024, 6),
      gemma("google/gemma-3-27b-it", third, {62, 5376, 32, 16, 128, 21504, 262208, 131072}, 1024,
            6),
  };
  const char* base[] = {"google/gemma-3-1b-pt", "google/gemma-3-4b-pt", "google/gemma-3-12b-pt",
                        "google/gemma-3-27b-pt"};
  for (std::size_t i = 0; i < std::size(base); ++i) {
    models3[i].attention.qk_norm = true;
    if (models3[i].architecture == third) {
      models3[i].vision = detail::siglip_vision();
    }
    add(models, models3[i], {base[i]});
  }
}

/// MLA with the sizes that DeepSeek-V3 and its successors share; the heads are the shape's.
ModelSpec latent(const char* name, const char* architecture, const Shape& shape, int q_lora_rank,
                 const MoeSpec& moe) {
  ModelSpec model = dense(name, architecture, shape);
  AttentionSpec& attention = model.attention;
  attention.kind = AttentionKind::latent;
  attention.q_lora_rank = q_lora_rank;
  attention.kv_lora_rank = 512;
  attention.qk_rope_head_dim = 64;
  attention.qk_nope_head_dim = attention.head_dim - 64;
  attention.v_head_dim = 128;
  model.moe = moe;
  model.four_bit = FourBitScope::mlp;
  return model;
}

MoeSpec experts(int count, int per_token, std::int64_t width, std::int64_t shared, int dense) {
  MoeSpec moe;
  moe.experts = count;
  moe.experts_per_token = per_token;
  moe.expert_intermediate = width;
  moe.shared_experts = shared > 0 ? 1 : 0;
  moe.shared_intermediate = shared;
  moe.dense_layers = dense;
  return moe;
}

/// DSA: an indexer of `heads` heads in every layer.
void add_indexer(ModelSpec& model, int heads) {
  model.attention.index_heads = heads;
  model.attention.index_head_dim = 128;
  model.attention.index_topk = 2048;
  model.attention.index_layers = model.layers;
}

void add_deepseek(Models& models) {
  ModelSpec model = latent("deepseek-ai/DeepSeek-V3", "DeepseekV3ForCausalLM",
                           {61, 7168, 128, 128, 192, 18432, 129280, 163840}, 1536,
                           experts(256, 8, 2048, 2048, 3));
  model.native_weights = Precision::fp8_block;
  model.draft_layers = 1;
  add(models, model,
      {"deepseek-ai/DeepSeek-V3-0324", "deepseek-ai/DeepSeek-V3.1", "deepseek-ai/DeepSeek-R1",
       "deepseek-ai/DeepSeek-R1-0528"});
  add(models, quantised(model, "nvidia/DeepSeek-R1-FP4", Precision::fp4),
      {"nvidia/DeepSeek-R1-NVFP4", "nvidia/DeepSeek-R1-0528-FP4", "nvidia/DeepSeek-R1-0528-NVFP4",
       "nvidia/DeepSeek-V3-0324-FP4", "nvidia/DeepSeek-V3.1-NVFP4"});
  ModelSpec sparse = model;
  sparse.name = "deepseek-ai/DeepSeek-V3.2";
  sparse.architecture = "DeepseekV32ForCausalLM";
  add_indexer(sparse, 64);
  add(models, sparse, {"deepseek-ai/DeepSeek-V3.2-Exp"});
  add(models, quantised(sparse, "nvidia/DeepSeek-V3.2-NVFP4", Precision::fp4));
}

void add_kimi(Models& models) {
  const Shape shape{61, 7168, 64, 64, 192, 18432, 163840, 131072};
  const MoeSpec moe = experts(384, 8, 2048, 2048, 1);
  ModelSpec two = latent("moonshotai/Kimi-K2-Instruct", "DeepseekV3ForCausalLM", shape, 1536, moe);
  two.native_weights = Precision::fp8_block;
  add(models, two);
  ModelSpec later =
      latent("moonshotai/Kimi-K2.5", "KimiK25ForConditionalGeneration", shape, 1536, moe);
  later.max_context = 262144;
  later.native_weights = Precision::int4;
  later.int4_group = 32;
  later.four_bit = FourBitScope::experts;
  add(models, later);
  later.four_bit = FourBitScope::mlp;
  add(models, quantised(later, "nvidia/Kimi-K2.5-NVFP4", Precision::fp4));
}

void add_glm(Models& models) {
  ModelSpec five =
      latent("zai-org/GLM-5", "GlmMoeDsaForCausalLM",
             {78, 6144, 64, 64, 256, 12288, 154880, 202752}, 2048, experts(256, 8, 2048, 2048, 3));
  five.attention.v_head_dim = 256;
  five.draft_layers = 1;
  add_indexer(five, 32);
  add(models, five, {"zhipuai/GLM-5", "zai-org/GLM-5.1"});
  add(models, quantised(five, "zai-org/GLM-5-FP8", Precision::fp8_block), {"zai-org/GLM-5.1-FP8"});
  add(models, quantised(five, "nvidia/GLM-5-NVFP4", Precision::fp4));
  ModelSpec later = five;
  later.four_bit = FourBitScope::experts;
  add(models, quantised(later, "nvidia/GLM-5.1-NVFP4", Precision::fp4));
  // Of four layers, three use the choice of the indexer of the first.
  later = with_context(later, "zai-org/GLM-5.2", 1048576);
  later.attention.index_layers = 21;
  add(models, later);
  add(models, quantised(later, "zai-org/GLM-5.2-FP8", Precision::fp8_block));
  add(models, quantised(later, "nvidia/GLM-5.2-NVFP4", Precision::fp4));
}

void add_minimax(Models& models) {
  ModelSpec model = sparse("MiniMaxAI/MiniMax-M2.5", "MiniMaxM2ForCausalLM",
                           {62, 3072, 48, 8, 128, 1536, 200064, 196608}, 256, 8);
  model.attention.qk_norm = true;
  model.native_weights = Precision::fp8_block;
  model.four_bit = FourBitScope::mlp;
  model.draft_layers = 3;
  add(models, model, {"MiniMaxAI/MiniMax-M2", "MiniMaxAI/MiniMax-M2.1"});
  add(models, with_context(model, "MiniMaxAI/MiniMax-M2.7", 204800));
  add(models, quantised(model, "nvidia/MiniMax-M2.5-NVFP4", Precision::fp4),
      {"nvidia/MiniMax-M2.7-NVFP4"});
}

/// Three layers of gated delta rule to one of gated attention; keys have 16 heads of 128.
ModelSpec hybrid(const char* name, const char* architecture, const Shape& shape, int value_heads) {
  ModelSpec model = dense(name, architecture, shape);
  model.attention.qk_norm = true;
  model.attention.output_gate = true;
  LinearAttentionSpec linear;
  linear.layers = shape.layers - shape.layers / 4;
  linear.key_heads = 16;
  linear.value_heads = value_heads;
  linear.key_head_dim = 128;
  linear.value_head_dim = 128;
  linear.conv_kernel = 4;
  model.linear = linear;
  model.draft_layers = 1;
  model.four_bit = FourBitScope::experts;
  return model;
}

void add_qwen3_5(Models& models) {
  const char* kind = "Qwen3_5MoeForConditionalGeneration";
  ModelSpec next = hybrid("Qwen/Qwen3-Next-80B-A3B-Instruct", "Qwen3NextForCausalLM",
                          {48, 2048, 16, 2, 256, 0, 151936, 262144}, 32);
  next.moe = experts(512, 10, 512, 512, 0);
  add(models, next, {"Qwen/Qwen3-Next-80B-A3B-Thinking"});
  add(models, quantised(next, "Qwen/Qwen3-Next-80B-A3B-Instruct-FP8", Precision::fp8_block));
  ModelSpec dense_one = hybrid("Qwen/Qwen3.5-27B", "Qwen3_5ForConditionalGeneration",
                               {64, 5120, 24, 4, 256, 17408, 248320, 262144}, 48);
  dense_one.four_bit = FourBitScope::mlp;
  VisionSpec vision = detail::qwen3_vision();
  vision.deepstack = 0;
  dense_one.vision = vision;
  add(models, dense_one);
  ModelSpec small =
      hybrid("Qwen/Qwen3.5-35B-A3B", kind, {40, 2048, 16, 2, 256, 0, 248320, 262144}, 32);
  small.vision = vision;
  small.moe = experts(256, 8, 512, 512, 0);
  add(models, small);
  ModelSpec middle =
      hybrid("Qwen/Qwen3.5-122B-A10B", kind, {48, 3072, 32, 2, 256, 0, 248320, 262144}, 64);
  middle.vision = vision;
  middle.moe = experts(256, 8, 1024, 1024, 0);
  add(models, middle);
  add(models, quantised(middle, "nvidia/Qwen3.5-122B-A10B-NVFP4", Precision::fp4));
  ModelSpec large =
      hybrid("Qwen/Qwen3.5-397B-A17B", kind, {60, 4096, 32, 2, 256, 0, 248320, 262144}, 64);
  large.vision = vision;
  large.moe = experts(512, 10, 1024, 1024, 0);
  add(models, large);
  add(models, quantised(large, "Qwen/Qwen3.5-397B-A17B-FP8", Precision::fp8_block));
  add(models, quantised(large, "nvidia/Qwen3.5-397B-A17B-NVFP4", Precision::fp4));
}

/// Llama 4: three layers of four attend within chunks of 8192 tokens; an expert and a shared one
/// for every token of a sparse layer, which every `step`-th is.
ModelSpec llama4(const char* name, int expert_count, int step, std::int64_t context) {
  ModelSpec model = dense(name, "Llama4ForConditionalGeneration",
                          {48, 5120, 40, 8, 128, step > 1 ? 16384 : 0, 202048, context});
  model.attention.sliding_window = 8192;
  model.attention.sliding_layers = 36;
  model.moe = experts(expert_count, 1, 8192, 8192, 48 - 48 / step);
  model.moe->dense_spread = step > 1;
  model.four_bit = FourBitScope::mlp;
  return model;
}

void add_llama4(Models& models) {
  ModelSpec scout = llama4("meta-llama/Llama-4-Scout-17B-16E-Instruct", 16, 1, 10485760);
  scout.attention.qk_norm = true;
  add(models, scout, {"meta-llama/Llama-4-Scout-17B-16E"});
  add(models, quantised(scout, "nvidia/Llama-4-Scout-17B-16E-Instruct-FP8", Precision::fp8));
  const ModelSpec maverick =
      llama4("meta-llama/Llama-4-Maverick-17B-128E-Instruct", 128, 2, 1048576);
  add(models, maverick);
  add(models,
      quantised(maverick, "meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8", Precision::fp8),
      {"nvidia/Llama-4-Maverick-17B-128E-Instruct-FP8"});
}

void add_gpt_oss(Models& models) {
  const auto gpt_oss = [](const char* name, int layers, int count) {
    ModelSpec model = sparse(name, "GptOssForCausalLM",
                             {layers, 2880, 64, 8, 64, 2880, 201088, 131072}, count, 4);
    model.native_weights = Precision::mxfp4;
    model.four_bit = FourBitScope::experts;
    model.attention.qkv_bias = true;
    model.attention.sliding_window = 128;
    model.attention.sliding_layers = layers / 2;
    return model;
  };
  add(models, gpt_oss("openai/gpt-oss-20b", 24, 32));
  add(models, gpt_oss("openai/gpt-oss-120b", 36, 128));
}

const Models& catalogue() {
  static const Models models = [] {
    Models all;
    add_llama(all);
    add_qwen2(all);
    add_qwen3(all);
    add_qwen3_moe(all);
    add_mistral(all);
    add_gemma(all);
    add_deepseek(all);
    add_kimi(all);
    add_glm(all);
    add_minimax(all);
    add_qwen3_5(all);
    add_llama4(all);
    add_gpt_oss(all);
    return all;
  }();
  return models;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string without_organisation(const std::string& name) {
  const std::size_t slash = name.find('/');
  return slash == std::string::npos ? name : name.substr(slash + 1);
}

const ModelSpec* find_in_catalogue(const std::string& name) {
  const std::string wanted = lower(name);
  const bool bare = wanted.find('/') == std::string::npos;
  for (const ModelSpec& model : catalogue()) {
    const std::string known = lower(bare ? without_organisation(model.name) : model.name);
    if (known == wanted) {
      return &model;
    }
  }
  return nullptr;
}

}  // namespace

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const ModelSpec& model : catalogue()) {
    names.push_back(model.name);
  }
  return names;
}

ModelSpec find_model(const std::string& name) {
  if (name.ends_with(".json")) {
    return read_model_config(name);
  }
  if (const ModelSpec* model = find_in_catalogue(name)) {
    return *model;
  }
  std::error_code ignored;
  if (std::filesystem::is_directory(name, ignored)) {
    return read_model_config((std::filesystem::path(name) / "config.json").string());
  }
  const bool bare = name.find('/') == std::string::npos;
  std::vector<std::string> names = model_names();
  if (bare) {
    std::transform(names.begin(), names.end(), names.begin(), without_organisation);
  }
  const std::optional<std::string> guess = nearest(name, names);
  throw Error(
      ErrorKind::bad_input,
      "unknown model '" + name + "': neither in the catalogue nor a folder with a config.json",
      (guess ? "did you mean '" + *guess + "'? Otherwise" : std::string("Otherwise")) +
          " give the path of its config.json");
}

}  // namespace dyn
