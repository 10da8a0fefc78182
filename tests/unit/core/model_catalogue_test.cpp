#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>

#include "dyn/core/catalogue.h"
#include "dyn/core/encoding.h"
#include "dyn/core/error.h"
#include "paths.h"

using dyn::find_model;
using dyn::Precision;

namespace {

/// A size in billions as the publisher gives it.
struct Published {
  const char* name;
  double total;
  const char* source;
};

constexpr const char* kCard = "model card";
constexpr const char* kTensors = "size of the checkpoint's safetensors on its Hugging Face page";

const Published kSizes[] = {
    {"Qwen/Qwen3-32B", 32.8, kCard},
    {"Qwen/Qwen3-14B", 14.8, kCard},
    {"Qwen/Qwen3-8B", 8.2, kCard},
    {"Qwen/Qwen3-4B", 4.0, kCard},
    {"Qwen/Qwen3-1.7B", 1.72, "safetensors, without the tied output matrix; card: 1.7B"},
    {"Qwen/Qwen3-0.6B", 0.596, "safetensors, without the tied output matrix; card: 0.6B"},
    {"Qwen/Qwen3-30B-A3B", 30.5, kCard},
    {"Qwen/Qwen3-235B-A22B", 235, kCard},
    {"Qwen/Qwen3-Coder-480B-A35B-Instruct", 480, kCard},
    {"Qwen/Qwen2.5-0.5B", 0.494, "safetensors; card: 0.49B"},
    {"Qwen/Qwen2.5-1.5B", 1.54, kCard},
    {"Qwen/Qwen2.5-3B", 3.09, kCard},
    {"Qwen/Qwen2.5-7B", 7.61, kCard},
    {"Qwen/Qwen2.5-14B", 14.7, kCard},
    {"Qwen/Qwen2.5-32B", 32.5, kCard},
    {"Qwen/Qwen2.5-72B", 72.7, kCard},
    {"meta-llama/Meta-Llama-3-8B", 8.03, kTensors},
    {"meta-llama/Meta-Llama-3-70B", 70.6, kTensors},
    {"meta-llama/Llama-3.1-8B", 8.03, kTensors},
    {"meta-llama/Llama-3.1-70B", 70.6, kTensors},
    {"meta-llama/Llama-3.3-70B-Instruct", 70.6, kTensors},
    {"meta-llama/Llama-3.1-405B", 406, kTensors},
    {"meta-llama/Llama-3.2-1B", 1.24, "safetensors; card: 1.23B"},
    {"meta-llama/Llama-3.2-3B", 3.21, kCard},
    {"mistralai/Mistral-7B-v0.1", 7.24, kTensors},
    {"mistralai/Mistral-7B-v0.3", 7.25, kTensors},
    {"mistralai/Mistral-Small-24B-Instruct-2501", 23.6, kTensors},
    {"mistralai/Mistral-Nemo-Instruct-2407", 12.2, kTensors},
    {"mistralai/Mistral-Large-Instruct-2411", 123, kCard},
    {"mistralai/Mixtral-8x7B-v0.1", 46.7, "Jiang et al. 2024, Mixtral of Experts: 47B; tensors"},
    {"mistralai/Mixtral-8x22B-v0.1", 140.6, "safetensors; announcement: 141B"},
    {"mistralai/Mixtral-8x22B-Instruct-v0.1", 140.6, "as the base model, with 768 more tokens"},
    {"google/gemma-2-9b", 9.24, "Gemma 2 report, table 2, embeddings included; safetensors"},
    {"google/gemma-2-27b", 27.2, "Gemma 2 report, table 2, embeddings included; safetensors"},
    {"google/gemma-3-1b-it", 1.0, "Gemma 3 report, table 1"},
    {"google/gemma-3-4b-it", 3.88, "Gemma 3 report, table 1, without the vision encoder"},
    {"google/gemma-3-12b-it", 11.77, "Gemma 3 report, table 1, without the vision encoder"},
    {"google/gemma-3-27b-it", 27.02, "Gemma 3 report, table 1, without the vision encoder"},
    {"deepseek-ai/DeepSeek-V3", 671, "DeepSeek-V3 report (2024), section 4.2"},
    {"deepseek-ai/DeepSeek-V3.2", 671, "V3's, with the indexer of the DeepSeek-V3.2 report"},
    {"openai/gpt-oss-120b", 116.83, "gpt-oss model card (OpenAI 2025), table 1"},
    {"openai/gpt-oss-20b", 20.91, "gpt-oss model card (OpenAI 2025), table 1"},
    {"zai-org/GLM-5", 744, kCard},
    {"zai-org/GLM-5.2", 744, "as GLM-5, with indexers in a quarter of the layers"},
    {"MiniMaxAI/MiniMax-M2.5", 229, "safetensors; card of M2: 230B"},
    {"Qwen/Qwen3-Next-80B-A3B-Instruct", 80, kCard},
    {"Qwen/Qwen3.5-27B", 27, kCard},
    {"Qwen/Qwen3.5-35B-A3B", 35, kCard},
    {"Qwen/Qwen3.5-122B-A10B", 122, kCard},
    {"Qwen/Qwen3.5-397B-A17B", 397, kCard},
    {"meta-llama/Llama-4-Maverick-17B-128E-Instruct", 400, kCard},
    {"meta-llama/Llama-4-Scout-17B-16E-Instruct", 107.8,
     "card: 109B with the vision encoder, which is not counted"},
    {"moonshotai/Kimi-K2-Instruct", 1026, "safetensors; the report says 1.04T"},
    {"moonshotai/Kimi-K2.5", 1026, "safetensors; the text model is Kimi-K2's"},
};

/// Of multimodal models, the encoder included.
const Published kWithVision[] = {
    {"Qwen/Qwen2.5-VL-3B-Instruct", 3.75, kTensors},
    {"Qwen/Qwen2.5-VL-7B-Instruct", 8.29, kTensors},
    {"Qwen/Qwen2.5-VL-32B-Instruct", 33.5, kTensors},
    {"Qwen/Qwen2.5-VL-72B-Instruct", 73.4, kTensors},
    {"Qwen/Qwen3-VL-2B-Instruct", 2.13, kTensors},
    {"Qwen/Qwen3-VL-4B-Instruct", 4.44, kTensors},
    {"Qwen/Qwen3-VL-8B-Instruct", 8.77, kTensors},
    {"Qwen/Qwen3-VL-30B-A3B-Instruct", 31.1, kTensors},
    {"Qwen/Qwen3-VL-32B-Instruct", 33.4, kTensors},
    {"Qwen/Qwen3-VL-235B-A22B-Instruct", 235.7, kTensors},
    {"google/gemma-3-4b-it", 4.30, kTensors},
    {"google/gemma-3-12b-it", 12.2, kTensors},
    {"google/gemma-3-27b-it", 27.4, kTensors},
};

}  // namespace

TEST_CASE("with their encoders, multimodal models have the published sizes") {
  for (const Published& model : kWithVision) {
    INFO(model.name << ": " << model.source);
    const dyn::ModelSpec spec = find_model(model.name);
    REQUIRE(spec.vision);
    const std::int64_t all = spec.parameters() + spec.vision->parameters(spec.hidden);
    CHECK(static_cast<double>(all) / 1e9 == Approx(model.total).epsilon(0.01));
  }
}

TEST_CASE("an image has the tokens that the model's processor makes of it") {
  const auto tokens = [](const char* model, int width, int height) {
    return dyn::image_size({1, 1, width, height, {}, {}, 1}, find_model(model)).tokens;
  };
  // Qwen2.5-VL: multiples of 28 pixels, 1024 / 28 = 36.6; at most 12,845,056 pixels, 16,384 tokens.
  CHECK(tokens("Qwen/Qwen2.5-VL-7B-Instruct", 1024, 1024) == 37 * 37);
  CHECK(tokens("Qwen/Qwen2.5-VL-7B-Instruct", 8000, 8000) == 128 * 128);
  CHECK(tokens("Qwen/Qwen2.5-VL-7B-Instruct", 3, 10) == 1);
  // Qwen3-VL: of 32.
  CHECK(tokens("Qwen/Qwen3-VL-8B-Instruct", 1280, 960) == 40 * 30);
  CHECK(dyn::image_size({1, 1, 1280, 960, {}, {}, 1}, find_model("Qwen/Qwen3-VL-8B-Instruct"))
            .patches == 80 * 60);
  // Gemma 3: always 256.
  CHECK(tokens("google/gemma-3-27b-it", 5000, 40) == 256);
  CHECK(find_model("google/gemma-3-1b-it").vision == std::nullopt);
  CHECK_THROWS_AS(tokens("Qwen/Qwen3-8B", 100, 100), dyn::Error);
  dyn::ImageMix given;
  given.tokens = 100;
  CHECK(dyn::image_size(given, find_model("Qwen/Qwen3-8B")).tokens == 100);
}

TEST_CASE("parameters are the published sizes to within one per cent") {
  for (const Published& model : kSizes) {
    INFO(model.name << ": " << model.source);
    const double counted = static_cast<double>(find_model(model.name).parameters()) / 1e9;
    CHECK(counted == Approx(model.total).epsilon(0.01));
  }
}

TEST_CASE("every model of the catalogue has a published size, or is a checkpoint of one that has") {
  std::set<std::int64_t> published;
  for (const Published& model : kSizes) {
    published.insert(find_model(model.name).parameters());
  }
  for (const std::string& name : dyn::model_names()) {
    INFO(name);
    CHECK(published.count(find_model(name).parameters()) == 1);
  }
}

TEST_CASE("active parameters are the published ones, some of which leave out the input embedding") {
  struct Active {
    const char* name;
    double active;
    bool with_embedding;
  };
  const Active sizes[] = {
      {"Qwen/Qwen3-30B-A3B", 3.35, true},          {"Qwen/Qwen3-235B-A22B", 22.0, true},
      {"mistralai/Mixtral-8x7B-v0.1", 12.9, true}, {"mistralai/Mixtral-8x22B-v0.1", 39.1, true},
      {"deepseek-ai/DeepSeek-V3", 36.7, false},    {"openai/gpt-oss-120b", 5.13, false},
      {"openai/gpt-oss-20b", 3.61, false},
  };
  for (const Active& size : sizes) {
    INFO(size.name);
    const dyn::ModelSpec model = find_model(size.name);
    const std::int64_t left_out = size.with_embedding ? 0 : model.vocabulary * model.hidden;
    CHECK(static_cast<double>(model.active_parameters() - left_out) / 1e9 ==
          Approx(size.active).epsilon(0.01));
  }
  // Whole billions, as model cards have them; some leave out one or both vocabulary matrices.
  struct Rounded {
    const char* name;
    double active;
    int without;
  };
  const Rounded rounded[] = {
      {"Qwen/Qwen3-Next-80B-A3B-Instruct", 3, 2},
      {"Qwen/Qwen3.5-35B-A3B", 3, 0},
      {"Qwen/Qwen3.5-122B-A10B", 10, 0},
      {"Qwen/Qwen3.5-397B-A17B", 17, 0},
      {"meta-llama/Llama-4-Maverick-17B-128E-Instruct", 17, 0},
      {"meta-llama/Llama-4-Scout-17B-16E-Instruct", 17, 0},
      {"moonshotai/Kimi-K2-Instruct", 32.6, 0},
      {"MiniMaxAI/MiniMax-M2.5", 10, 1},
      {"zai-org/GLM-5", 40, 2},
  };
  for (const Rounded& size : rounded) {
    INFO(size.name);
    const dyn::ModelSpec model = find_model(size.name);
    const std::int64_t left_out = size.without * model.vocabulary * model.hidden;
    CHECK(static_cast<double>(model.active_parameters() - left_out) / 1e9 ==
          Approx(size.active).margin(0.5));
  }
  const dyn::ModelSpec dense = find_model("Qwen/Qwen3-32B");
  CHECK(dense.active_parameters() == dense.parameters());
}

TEST_CASE("KV bytes per token: grouped heads are sharded, latents are not") {
  const dyn::ModelSpec llama = find_model("meta-llama/Llama-3.1-8B");
  CHECK(llama.kv_bytes_per_token(Precision::bf16, 1).count() == 131072);  // 32 * 2 * 8 * 128 * 2
  CHECK(llama.kv_bytes_per_token(Precision::fp8, 1).count() == 65536);
  CHECK(llama.kv_bytes_per_token(Precision::bf16, 8).count() == 16384);
  CHECK(llama.kv_bytes_per_token(Precision::bf16, 16).count() == 16384);  // heads are replicated
  CHECK(llama.kv_bytes_per_token(Precision::bf16, 3).count() == 3 * 16384);
  const dyn::ModelSpec deepseek = find_model("deepseek-ai/DeepSeek-R1");
  CHECK(deepseek.kv_bytes_per_token(Precision::bf16, 1).count() == 70272);  // 61 * 576 * 2
  CHECK(deepseek.kv_bytes_per_token(Precision::bf16, 8).count() == 70272);
}

TEST_CASE("layers that do not keep the whole context take memory by the sequence") {
  const dyn::ModelSpec hybrid = find_model("Qwen/Qwen3.5-397B-A17B");
  CHECK(hybrid.attention_layers() == 15);
  CHECK(hybrid.kv_bytes_per_token(Precision::bf16, 1).count() == 15 * 2 * 2 * 256 * 2);
  // 45 states of 64 heads x 128 x 128 in fp32, and 3 inputs of 12288 channels in bf16.
  const std::int64_t state = 45 * (64 * 128 * 128 * 4 + 3 * 12288 * 2);
  CHECK(hybrid.kv_bytes_per_sequence(Precision::fp8, 1).count() == state);
  CHECK(hybrid.kv_bytes_per_sequence(Precision::fp8, 8).count() == state / 8);
  const dyn::ModelSpec windows = find_model("gpt-oss-120b");
  CHECK(windows.kv_bytes_per_token(Precision::bf16, 1).count() == 18 * 2 * 8 * 64 * 2);
  CHECK(windows.kv_bytes_per_sequence(Precision::bf16, 1).count() == 18 * 128 * 2 * 8 * 64 * 2);
  const dyn::ModelSpec all_slide = find_model("mistralai/Mistral-7B-v0.1");
  CHECK(all_slide.kv_bytes_per_token(Precision::bf16, 1).count() == 32 * 2 * 8 * 128 * 2);
  CHECK(all_slide.kv_bytes_per_sequence(Precision::bf16, 1).count() == 0);
}

TEST_CASE("sparse attention keeps the keys of its indexers, and fp8 latents in FlashMLA's layout") {
  const dyn::ModelSpec model = find_model("deepseek-ai/DeepSeek-V3.2");
  CHECK(model.kv_bytes_per_token(Precision::bf16, 8).count() == 61 * (576 * 2 + 132));
  CHECK(model.kv_bytes_per_token(Precision::fp8, 8).count() == 61 * (656 + 132));
  CHECK(find_model("GLM-5.2").kv_bytes_per_token(Precision::bf16, 1).count() ==
        78 * 576 * 2 + 21 * 132);
}

TEST_CASE("a model is found with and without its organisation, in any case") {
  CHECK(find_model("qwen3-32b").name == "Qwen/Qwen3-32B");
  CHECK(find_model("QWEN/qwen3-32B-fp8").native_weights == Precision::fp8_block);
  CHECK(find_model("Llama-3.3-70B-Instruct").layers == 80);
  CHECK(find_model("gpt-oss-120b").native_weights == Precision::mxfp4);
}

TEST_CASE("an unknown model is an error that names the nearest") {
  CHECK_THROWS_WITH(find_model("Qwen/Qwen3-33B"),
                    Catch::Contains("did you mean 'Qwen/Qwen3-32B'?"));
  CHECK_THROWS_WITH(find_model("llama-3.1-8"), Catch::Contains("did you mean 'Llama-3.1-8B'?"));
  CHECK_THROWS_AS(find_model(""), dyn::Error);
  CHECK_THROWS_AS(find_model("no/such/config.json"), dyn::Error);
}

TEST_CASE("names in the catalogue are unique and each model is whole") {
  std::set<std::string> names;
  for (const std::string& name : dyn::model_names()) {
    INFO(name);
    CHECK(names.insert(name).second);
    const dyn::ModelSpec model = find_model(name);
    CHECK(model.name == name);
    CHECK(model.max_context >= 8192);
    CHECK(model.attention.heads % model.attention.kv_heads == 0);
    CHECK(model.attention.sliding_layers <= model.layers);
    CHECK((model.attention.sliding_window > 0) == (model.attention.sliding_layers > 0));
    CHECK((model.intermediate > 0) == (!model.moe || model.moe->dense_layers > 0));
  }
  CHECK(names.size() > 60);
}

TEST_CASE("a folder with a config.json is a model") {
  const auto folder = std::filesystem::path(DYN_BINARY_DIR) / "core_test_model";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "config.json")
      << R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "num_hidden_layers": 2,
             "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 256,
             "max_position_embeddings": 512})";
  const dyn::ModelSpec model = find_model(folder.string());
  CHECK(model.name == "core_test_model");
  CHECK(model.attention.kv_heads == 4);
  CHECK(model.attention.head_dim == 16);
  std::filesystem::remove_all(folder);
}
