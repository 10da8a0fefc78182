#include "serving.h"

#include <algorithm>
#include <bit>

#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"

// Launch flags are those of benchmarks/single_node in SemiAnalysisAI/InferenceX 843c625
// (Apache-2.0), by GPU and model.

namespace dyn::eval {
namespace {

constexpr int kWidestTensor = 8;  ///< GPUs over which engines shard attention in practice

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

bool blackwell(const std::string& gpu) {
  return gpu.starts_with("b2") || gpu.starts_with("b3") || gpu.starts_with("gb");
}

Precision weights_of(const MeasuredRow& row, const ModelSpec& model) {
  const Precision stated = model.moe ? row.moe : row.gemm;
  if (stated == Precision::fp4 && model.native_weights == Precision::mxfp4) {
    return Precision::mxfp4;  // gpt-oss: tables call every 4-bit format nvfp4
  }
  const bool block_scaled =
      model.native_weights == Precision::fp8_block || row.moe == Precision::fp8_block;
  if (stated == Precision::fp8 && block_scaled) {
    return Precision::fp8_block;  // tables call the checkpoint's own format fp8
  }
  return stated;
}

Precision kv_of(const MeasuredRow& row, Precision weights) {
  const bool quantised = weights != Precision::bf16 && weights != Precision::fp16;
  if (row.engine == "trtllm") {
    return quantised && (weights != Precision::mxfp4 || blackwell(row.gpu)) ? Precision::fp8
                                                                            : Precision::bf16;
  }
  if (row.other_client()) {
    return Precision::bf16;
  }
  if (row.engine == "sglang") {
    return blackwell(row.gpu) && quantised ? Precision::fp8 : Precision::bf16;
  }
  return (blackwell(row.gpu) && quantised) || contains(row.model, "MiniMax") ? Precision::fp8
                                                                             : Precision::bf16;
}

void set_vllm(const MeasuredRow& row, ServingSettings& settings) {
  EngineConfig& config = settings.config;
  config.block_size = 16;
  config.max_num_batched_tokens = 8192;
  if (!row.other_client() && contains(row.model, "MiniMax")) {
    if (blackwell(row.gpu)) {
      config.max_num_batched_tokens = 2LL * row.isl;
    } else if (row.gpu == "h200") {
      config.max_num_batched_tokens = 32'768;
      config.memory_utilization = 0.95;
    }
  }
}

void set_sglang(const MeasuredRow& row, const MeasuredWorkers& workers, int slots,
                ServingSettings& settings) {
  EngineConfig& config = settings.config;
  config.block_size = 64;
  config.memory_utilization = 0.85;
  std::int64_t chunk = 8192;
  if (!row.other_client()) {
    const bool deepseek = contains(row.model, "DeepSeek");
    if (blackwell(row.gpu)) {
      chunk = row.gemm == Precision::fp4 && !contains(row.model, "GLM") ? 16'384 : 32'768;
      if (deepseek && row.gemm != Precision::fp4 && workers.layout.tensor < 8) {
        chunk = 8192;
      }
      if (contains(row.model, "Qwen3.5")) {
        chunk = 16'384;
      }
      settings.poll_steps = slots >= 16 && !contains(row.model, "GLM") ? 30 : 10;
      settings.first_token_steps = 9;
    } else if (deepseek) {
      chunk = 32'768;
    } else if (contains(row.model, "Qwen3.5")) {
      chunk = 16'384;
    }
  }
  // Its chunk is of prompt tokens alone; decoding sequences do not share it.
  config.max_num_batched_tokens = chunk + slots;
}

void set_trtllm(const MeasuredRow& row, int slots, ServingSettings& settings) {
  EngineConfig& config = settings.config;
  config.block_size = 32;
  config.memory_utilization = 0.9;
  config.max_num_batched_tokens = 8192;
  if (row.other_client()) {
    // These runs' waits are those of one request more than the engine admits: E2E / concurrency.
    settings.waiting = row.version.starts_with("1.0.0") ? 1 : 0;
    config.max_num_seqs = settings.waiting > 0 ? slots : config.max_num_seqs;
    return;
  }
  settings.first_token_steps = contains(row.model, "DeepSeek") ? 12 : 5;
  if (contains(row.model, "gpt-oss")) {
    config.max_num_batched_tokens = 20'000;
  } else if (contains(row.model, "MiniMax") || contains(row.model, "Qwen3.5")) {
    config.max_num_batched_tokens = 16'384;
  } else {
    config.max_num_batched_tokens = std::max<std::int64_t>(8192, (slots + row.isl + 127) / 64 * 64);
  }
}

}  // namespace

ServingSettings serving_settings(const MeasuredRow& row, const MeasuredWorkers& workers,
                                 const ModelSpec& model, int slots) {
  ServingSettings settings;
  settings.weights = weights_of(row, model);
  settings.kv_cache = kv_of(row, settings.weights);
  EngineConfig& config = settings.config;
  config.kind = row.engine;
  config.prefix_caching = false;
  config.max_num_seqs = std::max(256, slots);
  config.max_model_len = row.isl + row.osl + 256;
  if (row.engine == "vllm") {
    set_vllm(row, settings);
  } else if (row.engine == "sglang") {
    set_sglang(row, workers, slots, settings);
  } else {
    set_trtllm(row, slots, settings);
  }
  config.max_num_batched_tokens =
      std::max<std::int64_t>(config.max_num_batched_tokens, config.max_num_seqs);
  return settings;
}

ParallelLayout stated_layout(const ModelSpec& model, const MeasuredWorkers& workers) {
  ParallelLayout stated = workers.layout;
  if (!model.moe) {
    stated.data = 1;
    stated.expert = 1;
  }
  return stated;
}

std::vector<ParallelLayout> layouts_near(const ModelSpec& model, const MeasuredWorkers& workers) {
  const ParallelLayout stated = stated_layout(model, workers);
  const auto gpus = static_cast<int>(
      std::bit_floor(static_cast<unsigned>(std::max(1, stated.tensor * stated.data))));
  std::vector<ParallelLayout> layouts;
  if (model.moe && stated.tensor > kWidestTensor) {
    // Racks run wide expert parallelism; their tables have all GPUs as one tensor group.
    layouts.push_back({1, 1, gpus, gpus});
  }
  layouts.push_back(stated);
  if (model.moe) {
    layouts.push_back({stated.tensor, stated.pipeline, stated.data, stated.tensor * stated.data});
    layouts.push_back({stated.tensor, stated.pipeline, stated.data, 1});
    for (int ranks = gpus; ranks >= 8; ranks /= 2) {
      layouts.push_back({1, 1, ranks, ranks});
    }
  }
  for (int tensor = std::min(gpus, 8); tensor >= 1; tensor /= 2) {
    layouts.push_back({tensor, 1, 1, 1});
  }
  return layouts;
}

ModelSpec measured_model(const std::string& name) {
  std::vector<std::string> candidates{name};
  const std::size_t slash = name.find('/');
  if (slash != std::string::npos) {
    candidates.push_back(name.substr(slash + 1));
  }
  for (const char* mark : {"-NVFP4", "-FP4", "-FP8"}) {
    if (candidates.back().ends_with(mark)) {
      candidates.push_back(
          candidates.back().substr(0, candidates.back().size() - std::string(mark).size()));
    }
  }
  const std::vector<std::string> known = model_names();
  for (const std::string& candidate : candidates) {
    try {
      return find_model(candidate);
    } catch (const Error&) {
      continue;
    }
  }
  return find_model(name);
}

}  // namespace dyn::eval
