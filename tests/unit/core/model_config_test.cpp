#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "dyn/core/catalogue.h"
#include "dyn/core/document.h"
#include "dyn/core/error.h"
#include "paths.h"

using dyn::Precision;

namespace {

dyn::ModelSpec parse(const std::string& text, const std::string& name = "model.json") {
  return dyn::parse_model_config(dyn::Document::parse(text, name));
}

std::string error_of(const std::string& text) {
  try {
    parse(text);
  } catch (const dyn::Error& error) {
    CHECK(error.kind() == dyn::ErrorKind::bad_input);
    return error.what();
  }
  return "no error";
}

/// Two descriptions of one model: all that sizes and times depend on.
void check_same(const dyn::ModelSpec& a, const dyn::ModelSpec& b) {
  CHECK(a.architecture == b.architecture);
  CHECK(a.parameters() == b.parameters());
  CHECK(a.active_parameters() == b.active_parameters());
  CHECK(a.kv_bytes_per_token(Precision::bf16, 2) == b.kv_bytes_per_token(Precision::bf16, 2));
  CHECK(a.attention.heads == b.attention.heads);
  CHECK(a.attention.head_dim == b.attention.head_dim);
  CHECK(a.attention.sliding_window == b.attention.sliding_window);
  CHECK(a.attention.sliding_layers == b.attention.sliding_layers);
  CHECK(a.moe.has_value() == b.moe.has_value());
  CHECK(a.attention.index_layers == b.attention.index_layers);
  CHECK((a.linear ? a.linear->layers : 0) == (b.linear ? b.linear->layers : 0));
  CHECK(a.draft_layers == b.draft_layers);
  CHECK(a.four_bit == b.four_bit);
  CHECK(a.tied_embeddings == b.tied_embeddings);
  CHECK(a.max_context == b.max_context);
  CHECK(a.native_weights == b.native_weights);
}

/// A Llama config with `extra` fields, each of which replaces one of the same name.
const char* kLlama = R"("hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
  "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256,
  "max_position_embeddings": 131072)";

std::string llama(const std::string& extra = "", const std::string& name = "LlamaForCausalLM") {
  return "{\"architectures\": [\"" + name + "\"], " + kLlama + (extra.empty() ? "" : ", ") + extra +
         "}";
}

}  // namespace

TEST_CASE("a Llama config gives the model of the catalogue") {
  check_same(parse(llama()), dyn::find_model("Llama-3.1-8B"));
}

TEST_CASE("published configs give the models of the catalogue") {
  if (!dyn::test::have_reference_data()) {
    WARN("skipped: the reference data is not at hand");
    return;
  }
  for (const char* name : {"Llama-3.1-8B", "Llama-3.1-70B", "Mixtral-8x7B-v0.1", "Qwen3-32B",
                           "Qwen3-30B-A3B-Instruct-2507"}) {
    INFO(name);
    const auto path = dyn::test::reference_data("models/" + std::string(name) + ".json");
    const dyn::ModelSpec model = dyn::read_model_config(path.string());
    CHECK(model.name == name);
    check_same(model, dyn::find_model(name));
  }
  CHECK_THROWS_WITH(dyn::read_model_config(
                        dyn::test::reference_data("models/Phi-mini-MoE-instruct.json").string()),
                    Catch::Contains("PhiMoEForCausalLM") && Catch::Contains("Qwen3MoeForCausalLM"));
}

TEST_CASE("DeepSeek-V3: latent attention, dense first layers, a shared expert, fp8 blocks") {
  const dyn::ModelSpec model = parse(R"({
    "architectures": ["DeepseekV3ForCausalLM"], "first_k_dense_replace": 3, "hidden_size": 7168,
    "intermediate_size": 18432, "kv_lora_rank": 512, "max_position_embeddings": 163840,
    "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_routed_experts": 256,
    "n_shared_experts": 1, "num_attention_heads": 128, "num_experts_per_tok": 8,
    "num_hidden_layers": 61, "num_key_value_heads": 128, "num_nextn_predict_layers": 1,
    "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "vocab_size": 129280, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
    "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                            "weight_block_size": [128, 128]}})");
  check_same(model, dyn::find_model("DeepSeek-V3"));
  CHECK(model.moe->dense_layers == 3);
  CHECK(model.moe->shared_intermediate == 2048);
  CHECK(model.attention.kind == dyn::AttentionKind::latent);
}

TEST_CASE("DeepSeek-V3.2, GLM-5 and Kimi-K2.5: latents with indexers, nested text models") {
  const std::string sizes = R"("kv_lora_rank": 512, "moe_intermediate_size": 2048,
    "n_shared_experts": 1, "num_experts_per_tok": 8, "qk_rope_head_dim": 64, )";
  const dyn::ModelSpec glm = parse(R"({"architectures": ["GlmMoeDsaForCausalLM"], )" + sizes +
                                   R"("first_k_dense_replace": 3, "head_dim": 64,
    "hidden_size": 6144, "index_head_dim": 128, "index_n_heads": 32, "index_topk": 2048,
    "intermediate_size": 12288, "max_position_embeddings": 202752, "n_routed_experts": 256,
    "num_attention_heads": 64, "num_hidden_layers": 78, "num_nextn_predict_layers": 1,
    "q_lora_rank": 2048, "qk_nope_head_dim": 192, "v_head_dim": 256, "vocab_size": 154880})");
  check_same(glm, dyn::find_model("GLM-5"));
  CHECK(glm.attention.index_layers == 78);
  CHECK(glm.draft_layers == 1);
  const dyn::ModelSpec kimi = parse(R"({"architectures": ["KimiK25ForConditionalGeneration"],
    "text_config": {"architectures": ["DeepseekV3ForCausalLM"], )" +
                                    sizes +
                                    R"("first_k_dense_replace": 1, "hidden_size": 7168,
      "intermediate_size": 18432, "max_position_embeddings": 262144, "n_routed_experts": 384,
      "num_attention_heads": 64, "num_hidden_layers": 61, "q_lora_rank": 1536,
      "qk_nope_head_dim": 128, "v_head_dim": 128, "vocab_size": 163840,
      "quantization_config": {"quant_method": "compressed-tensors",
        "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*"],
        "config_groups": {"group_0": {"weights": {"group_size": 32, "num_bits": 4,
                                                   "type": "int"}}}}}})");
  check_same(kimi, dyn::find_model("Kimi-K2.5"));
  CHECK(kimi.bytes_per_weight(Precision::int4) == 0.5 + 2.0 / 32);
  CHECK(kimi.four_bit == dyn::FourBitScope::experts);
}

TEST_CASE("indexers that share a choice are counted once") {
  const std::string text = R"({"architectures": ["DeepseekV32ForCausalLM"], "hidden_size": 512,
    "index_head_dim": 64, "index_n_heads": 4, "index_topk": 64, "intermediate_size": 1024,
    "kv_lora_rank": 128, "max_position_embeddings": 4096, "moe_intermediate_size": 128,
    "n_routed_experts": 8, "num_attention_heads": 4, "num_experts_per_tok": 2,
    "num_hidden_layers": 4, "q_lora_rank": 64, "qk_nope_head_dim": 32, "qk_rope_head_dim": 16,
    "v_head_dim": 32, "vocab_size": 1000, "indexer_types": [)";
  CHECK(parse(text + R"("full", "shared", "shared", "full"]})").attention.index_layers == 2);
  CHECK_THAT(error_of(text + R"("full", "half"]})"),
             Catch::Contains("half") && Catch::Contains("4 layers"));
}

TEST_CASE("Qwen3.5: gated delta layers, a gate of the output, a shared expert") {
  const std::string text = R"({"architectures": ["Qwen3_5MoeForConditionalGeneration"],
    "text_config": {"attn_output_gate": true, "head_dim": 256, "hidden_size": 4096,
      "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_num_key_heads": 16,
      "linear_num_value_heads": 64, "linear_value_head_dim": 128,
      "max_position_embeddings": 262144, "mlp_only_layers": [], "moe_intermediate_size": 1024,
      "mtp_num_hidden_layers": 1, "num_attention_heads": 32, "num_experts": 512,
      "num_experts_per_tok": 10, "num_hidden_layers": 60, "num_key_value_heads": 2,
      "shared_expert_intermediate_size": 1024, "vocab_size": 248320, "dtype": "bfloat16")";
  check_same(parse(text + "}}"), dyn::find_model("Qwen3.5-397B-A17B"));
  const dyn::ModelSpec fewer = parse(text + R"(, "full_attention_interval": 6}})");
  CHECK(fewer.linear->layers == 50);
  CHECK(fewer.draft_layers == 1);
}

TEST_CASE("MiniMax-M2: many small experts and none shared") {
  const dyn::ModelSpec model = parse(R"({"architectures": ["MiniMaxM2ForCausalLM"],
    "head_dim": 128, "hidden_size": 3072, "intermediate_size": 1536,
    "max_position_embeddings": 196608, "mtp_transformer_layers": 1, "num_attention_heads": 48,
    "num_experts_per_tok": 8, "num_hidden_layers": 62, "num_key_value_heads": 8,
    "num_local_experts": 256, "num_mtp_modules": 3, "shared_intermediate_size": 0,
    "use_mtp": true, "use_qk_norm": true, "vocab_size": 200064,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128],
                            "modules_to_not_convert": ["gate", "lm_head"]}})");
  check_same(model, dyn::find_model("MiniMax-M2.5"));
  CHECK(model.draft_layers == 3);
  CHECK(model.four_bit == dyn::FourBitScope::mlp);
}

TEST_CASE("Llama 4: every second layer sparse, three of four within chunks") {
  const dyn::ModelSpec model = parse(R"({"architectures": ["Llama4ForConditionalGeneration"],
    "text_config": {"attention_chunk_size": 8192, "head_dim": 128, "hidden_size": 5120,
      "interleave_moe_layer_step": 2, "intermediate_size": 8192, "intermediate_size_mlp": 16384,
      "max_position_embeddings": 1048576, "num_attention_heads": 40, "num_experts_per_tok": 1,
      "num_hidden_layers": 48, "num_key_value_heads": 8, "num_local_experts": 128,
      "use_qk_norm": false, "vocab_size": 202048}})");
  check_same(model, dyn::find_model("Llama-4-Maverick-17B-128E-Instruct"));
  CHECK(model.moe->dense_layers == 24);
  CHECK(model.moe->dense_spread);
}

TEST_CASE("a 4-bit checkpoint's exceptions say what is quantised") {
  const auto scope = [](const std::string& config) {
    return parse(llama("\"quantization_config\": {" + config + "}")).four_bit;
  };
  const std::string fp4 = R"("quant_method": "modelopt", "quant_algo": "NVFP4")";
  CHECK(scope(fp4) == dyn::FourBitScope::all);
  CHECK(scope(fp4 + R"(, "ignore": ["lm_head"])") == dyn::FourBitScope::all);
  CHECK(scope(fp4 + R"(, "ignore": ["model.layers.0.self_attn*"])") == dyn::FourBitScope::mlp);
  CHECK(scope(fp4 + R"(, "ignore": ["model.layers.0.mlp.shared_experts*"])") ==
        dyn::FourBitScope::experts);
}

TEST_CASE("Gemma 3: the text model is nested and leaves out what is the default") {
  const dyn::ModelSpec model = parse(R"({
    "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
    "text_config": {"head_dim": 128, "hidden_size": 5376, "intermediate_size": 21504,
      "model_type": "gemma3_text", "num_attention_heads": 32, "num_hidden_layers": 62,
      "num_key_value_heads": 16, "query_pre_attn_scalar": 168, "sliding_window": 1024},
    "torch_dtype": "bfloat16", "vision_config": {"hidden_size": 1152}})");
  check_same(model, dyn::find_model("gemma-3-27b-it"));
  CHECK(model.attention.sliding_layers == 52);  // every sixth sees everything
  const dyn::ModelSpec small = parse(R"({
    "architectures": ["Gemma3ForConditionalGeneration"],
    "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
                    "sliding_window": 1024}})");
  check_same(small, dyn::find_model("gemma-3-4b-it"));
}

TEST_CASE("Gemma 2: embeddings are tied and every other layer slides by default") {
  const dyn::ModelSpec model = parse(R"({
    "architectures": ["Gemma2ForCausalLM"], "head_dim": 128, "hidden_size": 4608,
    "intermediate_size": 36864, "max_position_embeddings": 8192, "num_attention_heads": 32,
    "num_hidden_layers": 46, "num_key_value_heads": 16, "sliding_window": 4096,
    "vocab_size": 256000})");
  check_same(model, dyn::find_model("gemma-2-27b"));
}

TEST_CASE("gpt-oss: MXFP4 experts, biases, and layer types") {
  std::string types;
  for (int i = 0; i < 12; ++i) {
    types += std::string(i > 0 ? ", " : "") + R"("sliding_attention", "full_attention")";
  }
  const dyn::ModelSpec model = parse(R"({
    "architectures": ["GptOssForCausalLM"], "attention_bias": true, "experts_per_token": 4,
    "head_dim": 64, "hidden_size": 2880, "intermediate_size": 2880, "layer_types": [)" +
                                     types + R"(],
    "max_position_embeddings": 131072, "num_attention_heads": 64, "num_experts_per_tok": 4,
    "num_hidden_layers": 24, "num_key_value_heads": 8, "num_local_experts": 32,
    "quantization_config": {"modules_to_not_convert": ["lm_head"], "quant_method": "mxfp4"},
    "sliding_window": 128, "vocab_size": 201088})");
  check_same(model, dyn::find_model("gpt-oss-20b"));
}

TEST_CASE("a sliding window counts only where the family says that it is used") {
  const std::string window = R"("sliding_window": 4096)";
  CHECK(parse(llama(window)).attention.sliding_layers == 0);
  CHECK(parse(llama(window, "MistralForCausalLM")).attention.sliding_layers == 32);
  CHECK(parse(llama(R"("sliding_window": null)", "MistralForCausalLM")).attention.sliding_window ==
        0);
  CHECK(parse(llama(window, "Qwen2ForCausalLM")).attention.sliding_window == 0);
  const dyn::ModelSpec used = parse(llama(
      window + R"(, "use_sliding_window": true, "max_window_layers": 20)", "Qwen2ForCausalLM"));
  CHECK(used.attention.sliding_window == 4096);
  CHECK(used.attention.sliding_layers == 12);
  CHECK(used.attention.qkv_bias);
}

TEST_CASE("quantised checkpoints say what their weights are") {
  const auto weights = [](const std::string& config) {
    return parse(llama("\"quantization_config\": {" + config + "}")).native_weights;
  };
  CHECK(weights(R"("quant_method": "fp8")") == Precision::fp8);
  CHECK(weights(R"("quant_method": "fp8", "weight_block_size": [128, 128])") ==
        Precision::fp8_block);
  CHECK(weights(R"("quant_method": "awq", "bits": 4)") == Precision::int4);
  CHECK(weights(R"("quant_method": "gptq", "bits": 8)") == Precision::int8);
  CHECK(weights(R"("quant_method": "modelopt", "quant_algo": "NVFP4")") == Precision::fp4);
  CHECK(weights(R"("quant_method": "compressed-tensors", "config_groups":
                  {"group_0": {"weights": {"num_bits": 8, "type": "float"}}})") == Precision::fp8);
  CHECK(weights(R"("quant_method": "compressed-tensors", "config_groups":
                  {"group_0": {"weights": {"num_bits": 4, "type": "int"}}})") == Precision::int4);
  CHECK(parse(llama(R"("torch_dtype": "float16")")).native_weights == Precision::fp16);
  CHECK(parse(llama(R"("dtype": "float32")")).native_weights == Precision::fp32);
  CHECK_THAT(
      error_of(llama(R"("quantization_config": {"quant_method": "bitsandbytes"})")),
      Catch::Contains("unsupported quantization 'bitsandbytes' (supp") && Catch::Contains("mxfp4"));
  CHECK_THAT(error_of(llama(R"("quantization_config": {"quant_method": "modelopt",
                                "quant_algo": "MIXED_PRECISION"})")),
             Catch::Contains("'modelopt' with quant_algo MIXED_PRECISION"));
  CHECK_THAT(error_of(llama(R"("quantization_config": {"quant_method": "awq", "bits": 3})")),
             Catch::Contains("4 or 8"));
  CHECK_THAT(error_of(llama(R"("torch_dtype": "float8")")), Catch::Contains("bfloat16"));
}

TEST_CASE("Qwen3-MoE: layers without experts are counted") {
  const std::string moe = R"("num_experts": 128, "num_experts_per_tok": 8,
                             "moe_intermediate_size": 768, "head_dim": 128)";
  const std::string name = "Qwen3MoeForCausalLM";
  CHECK(parse(llama(moe, name)).moe->dense_layers == 0);
  CHECK(parse(llama(moe, name)).intermediate == 0);
  const dyn::ModelSpec listed = parse(llama(moe + R"(, "mlp_only_layers": [0, 3])", name));
  CHECK(listed.moe->dense_layers == 2);
  CHECK(listed.intermediate == 14336);
  CHECK(parse(llama(moe + R"(, "decoder_sparse_step": 2)", name)).moe->dense_layers == 16);
}

TEST_CASE("a model's name is that of its file, or of the folder of a config.json") {
  CHECK(parse(llama(), "/models/tiny.json").name == "tiny");
  CHECK(parse(llama(), "/models/Llama-3.1-8B/config.json").name == "Llama-3.1-8B");
}

TEST_CASE("a checkpoint may say how it is quantised in a file beside its config") {
  const auto folder = std::filesystem::path(DYN_BINARY_DIR) / "core_test_modelopt";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "config.json") << llama();
  std::ofstream(folder / "hf_quant_config.json")
      << R"({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4",
             "exclude_modules": ["lm_head", "model.layers.0.self_attn.q_proj"]}})";
  const dyn::ModelSpec model = dyn::read_model_config((folder / "config.json").string());
  CHECK(model.native_weights == Precision::fp4);
  CHECK(model.four_bit == dyn::FourBitScope::mlp);
  std::filesystem::remove_all(folder);
}

TEST_CASE("an unsupported architecture is an error at its place that lists the supported ones") {
  const std::string error = error_of("{\n  \"architectures\": [\"MambaForCausalLM\"]\n}\n");
  CHECK_THAT(error, Catch::StartsWith("model.json:2:21: error:"));
  CHECK_THAT(error, Catch::Contains("MambaForCausalLM") && Catch::Contains("LlamaForCausalLM") &&
                        Catch::Contains("GptOssForCausalLM"));
  CHECK_THAT(error_of("{}"), Catch::Contains("architectures"));
  CHECK_THAT(error_of("[1, 2]"), Catch::Contains("architectures"));
  CHECK_THAT(error_of(R"({"model_type": "bert"})"), Catch::Contains("bert"));
  CHECK_THAT(error_of(R"({"architectures": "LlamaForCausalLM"})"),
             Catch::Contains("architectures"));
}

TEST_CASE("every field that is missing or cannot be is named, all at once") {
  const std::string error = error_of(R"({"architectures": ["LlamaForCausalLM"],
    "hidden_size": 0, "num_hidden_layers": 32, "num_attention_heads": -8,
    "intermediate_size": "big", "vocab_size": 1.5})");
  for (const char* field : {"'hidden_size'", "'num_attention_heads'", "'intermediate_size'",
                            "'vocab_size'", "missing field 'max_position_embeddings'"}) {
    CHECK_THAT(error, Catch::Contains(field));
  }
  CHECK_THAT(error, Catch::Contains("model.json:2:20"));
  CHECK_THAT(error, !Catch::Contains("'num_hidden_layers'"));
}

TEST_CASE("sizes that do not fit together are errors") {
  const auto without = [](std::string text, const std::string& field, const std::string& value) {
    const std::size_t at = text.find("\"" + field + "\": ") + field.size() + 4;
    return text.replace(at, text.find_first_of(",}", at) - at, value);
  };
  CHECK_THAT(error_of(without(llama(), "num_key_value_heads", "7")), Catch::Contains("divide"));
  CHECK_THAT(error_of(without(llama(), "hidden_size", "4097")), Catch::Contains("head_dim"));
  CHECK_THAT(
      error_of(llama(R"("num_local_experts": 4, "num_experts_per_tok": 5)", "MixtralForCausalLM")),
      Catch::Contains("at most the 4 experts"));
  CHECK_THAT(error_of(llama(R"("sliding_window": 64, "layer_types": ["full_attention", "cube"])",
                            "MistralForCausalLM")),
             Catch::Contains("cube") && Catch::Contains("32 layers"));
}

TEST_CASE("a multimodal config gives the encoder of the catalogue") {
  const auto text = [](const char* sizes) {
    return R"("hidden_size": 4096, "num_hidden_layers": 36, "num_attention_heads": 32,
      "num_key_value_heads": 8, "intermediate_size": 12288, "vocab_size": 151936, "head_dim": 128,
      "max_position_embeddings": 262144)" +
           std::string(sizes);
  };
  const dyn::ModelSpec qwen3 = parse(
      R"({"architectures": ["Qwen3VLForConditionalGeneration"], "text_config": {)" + text("") +
      R"(}, "vision_config": {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304,
      "num_heads": 16, "patch_size": 16, "spatial_merge_size": 2, "out_hidden_size": 4096,
      "deepstack_visual_indexes": [8, 16, 24]}})");
  check_same(qwen3, dyn::find_model("Qwen/Qwen3-VL-8B-Instruct"));
  CHECK(qwen3.vision == dyn::find_model("Qwen/Qwen3-VL-8B-Instruct").vision);
  const dyn::ModelSpec qwen2 = parse(
      R"({"architectures": ["Qwen2_5_VLForConditionalGeneration"], "hidden_size": 3584,
      "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
      "intermediate_size": 18944, "vocab_size": 152064, "max_position_embeddings": 128000,
      "vision_config": {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420,
      "num_heads": 16, "patch_size": 14, "spatial_merge_size": 2, "window_size": 112,
      "fullatt_block_indexes": [7, 15, 23, 31]}})");
  check_same(qwen2, dyn::find_model("Qwen/Qwen2.5-VL-7B-Instruct"));
  CHECK(qwen2.vision == dyn::find_model("Qwen/Qwen2.5-VL-7B-Instruct").vision);
  const dyn::ModelSpec gemma = parse(
      R"({"architectures": ["Gemma3ForConditionalGeneration"], "mm_tokens_per_image": 256,
      "text_config": {"hidden_size": 5376, "num_hidden_layers": 62, "num_attention_heads": 32,
      "num_key_value_heads": 16, "head_dim": 128, "intermediate_size": 21504,
      "sliding_window": 1024}, "vision_config": {"hidden_size": 1152, "image_size": 896,
      "intermediate_size": 4304, "num_attention_heads": 16, "num_hidden_layers": 27,
      "patch_size": 14}})");
  CHECK(gemma.vision == dyn::find_model("google/gemma-3-27b-it").vision);
  CHECK(error_of(R"({"architectures": ["Qwen3VLForConditionalGeneration"], "text_config": {)" +
                 text("") + R"(}, "vision_config": {"depth": "many"}})")
            .find("expected 'depth' to be a whole number") != std::string::npos);
  CHECK(error_of(R"({"architectures": ["Qwen3VLForConditionalGeneration"], "text_config": {)" +
                 text("") + R"(}, "vision_config": {"num_heads": 5}})")
            .find("the heads of the vision encoder") != std::string::npos);
}
