#include "serving.h"

#include <algorithm>
#include <bit>

#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"

// Launch flags are those of the scripts below benchmarks/ in SemiAnalysisAI/InferenceX (Apache-2.0)
// by GPU and model, images those of its nvidia-master.yaml, both as of the rows' dates.

namespace dyn::eval {
namespace {

constexpr int kWidestTensor = 8;  ///< GPUs over which engines shard attention in practice

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

bool blackwell(const std::string& gpu) {
  return gpu.starts_with("b2") || gpu.starts_with("b3") || gpu.starts_with("gb");
}

/// Runs whose scripts are known: InferenceX's, and what another source has of them.
bool scripted(const MeasuredRow& row) {
  return !row.other_client() || contains(row.model, "Qwen3.5");
}

/// MTP of TensorRT-LLM's runs: those of these images with `*_mtp.sh`, three draft tokens, one with
/// attention DP. Tables do not say it; other engines' images ran both with and without.
bool drafts(const MeasuredRow& row) {
  constexpr const char* kFirstMtp = "2026-01-14";
  return row.engine == "trtllm" && !row.disaggregated && !row.other_client() &&
         contains(row.model, "DeepSeek") &&
         (row.version == "1.2.0rc6.post3" ||
          (row.version == "1.1.0rc2.post2" && row.date >= kFirstMtp));
}

/// Tokens that a step keeps of 1 + `draft_tokens`, calibrated on those runs: prompts are random
/// tokens in a chat template.
perf::Speculation drafting(int draft_tokens) {
  constexpr double kOne = 1.75;
  constexpr double kThree = 2.3;
  return {perf::SpeculationKind::mtp, draft_tokens, draft_tokens == 1 ? kOne : kThree};
}

/// gptoss_fp4_h100_docker.sh between two commits (d22bf9c, 4e135fd) let the client keep up to 512
/// requests in flight, whatever the concurrency that it was asked for, which was the engine's
/// --max-num-seqs (4 to 64, not recorded) and a tenth of the prompts: all are sent at once and
/// wait.
bool all_at_once(const MeasuredRow& row) {
  return row.engine == "vllm" && row.gpu == "h100" && !row.other_client() && !row.disaggregated &&
         contains(row.model, "gpt-oss") && row.concurrency == 512 && row.date >= "2025-11-21" &&
         row.date < "2025-12-10";
}
constexpr int kAdmittedAtOnce = 8;

/// Scripts that ask for asynchronous scheduling: gptoss_fp4_*.sh. Those of Llama 70B do too, but
/// measured steps of that older vLLM (0.10) are no shorter for it.
bool asks_for_asynchronous(const MeasuredRow& row) {
  return !row.other_client() && contains(row.model, "gpt-oss");
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
  if (!scripted(row)) {
    return Precision::bf16;
  }
  if (row.engine == "sglang") {
    return blackwell(row.gpu) && quantised ? Precision::fp8 : Precision::bf16;
  }
  return (blackwell(row.gpu) && quantised) || contains(row.model, "MiniMax") ? Precision::fp8
                                                                             : Precision::bf16;
}

void set_vllm(const MeasuredRow& row, int slots, ServingSettings& settings) {
  EngineConfig& config = settings.config;
  config.block_size = 16;
  config.max_num_batched_tokens = 8192;
  const std::string version = engine_version(row);
  const bool by_itself = !version.starts_with("0.10") && !version.starts_with("0.11") &&
                         !version.starts_with("0.12") && !version.starts_with("0.13");
  settings.asynchronous = !by_itself && asks_for_asynchronous(row);
  const bool overlaps = by_itself || settings.asynchronous;
  // Asynchronous scheduling sees a token a step later, and the client's stream after that.
  settings.first_token_steps = overlaps && !row.disaggregated ? 2 : 0;
  if (all_at_once(row)) {
    config.max_num_seqs = slots;
    settings.waiting = (kPromptsPerSlot - 1) * slots;
    settings.prompts_per_slot = 1;
  }
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
  if (scripted(row)) {
    const bool deepseek = contains(row.model, "DeepSeek");
    const bool glm = contains(row.model, "GLM");
    settings.first_token_steps = 2;
    if (blackwell(row.gpu)) {
      chunk = row.gemm == Precision::fp4 && !glm ? 16'384 : 32'768;
      if (deepseek && row.gemm != Precision::fp4 && workers.layout.tensor < 8) {
        chunk = 8192;
      }
      if (contains(row.model, "Qwen3.5")) {
        chunk = 16'384;
      }
      if (!glm) {
        const bool rare = slots >= 16 && !(row.gpu == "b300" && row.version.starts_with("0.5.10"));
        settings.poll_steps = rare ? 30 : 10;
        settings.first_token_steps = 9;
      }
    } else if (deepseek) {
      chunk = 32'768;
    } else if (contains(row.model, "Qwen3.5")) {
      chunk = 16'384;
    }
  }
  // Its chunk is of prompt tokens alone; decoding sequences do not share it.
  config.max_num_batched_tokens = chunk + slots;
}

void set_trtllm(const MeasuredRow& row, const MeasuredWorkers& workers, int slots,
                ServingSettings& settings) {
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
  const bool deepseek = contains(row.model, "DeepSeek");
  settings.first_token_steps = deepseek ? 12 : 5;
  if (deepseek && !row.disaggregated && workers.layout.data > 1) {
    // enable_balance: a rank's prompts wait for the other ranks', 60 steps at most.
    settings.first_token_steps = 60;
  }
  const std::int64_t prompt = (slots + row.isl + 127) / 64 * 64;
  if (drafts(row)) {
    settings.speculation = drafting(workers.layout.data > 1 ? 1 : 3);
    config.max_num_seqs = slots;
    config.max_num_batched_tokens = prompt + settings.speculation->draft_tokens * slots;
  } else if (contains(row.model, "gpt-oss")) {
    config.max_num_batched_tokens = 20'000;
  } else if (contains(row.model, "MiniMax") || contains(row.model, "Qwen3.5")) {
    config.max_num_batched_tokens = 16'384;
  } else {
    config.max_num_batched_tokens = std::max<std::int64_t>(8192, prompt);
  }
}

}  // namespace

ServingSettings serving_settings(const MeasuredRow& row, const MeasuredWorkers& workers,
                                 const ModelSpec& model, int slots) {
  ServingSettings settings;
  settings.weights = weights_of(row, model);
  settings.kv_cache = kv_of(row, settings.weights);
  if (settings.weights == Precision::mxfp4 && blackwell(row.gpu) && row.engine == "vllm") {
    // Activations of 8 bits (VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8): those kernels are nvfp4's kin,
    // not those of bf16 activations, which vLLM's table of mxfp4 has.
    settings.expert_weights = Precision::fp4;
  }
  EngineConfig& config = settings.config;
  config.kind = row.engine;
  config.prefix_caching = false;
  config.max_num_seqs = std::max(256, slots);
  config.max_model_len = row.isl + row.osl + 256;
  if (row.engine == "vllm") {
    set_vllm(row, slots, settings);
  } else if (row.engine == "sglang") {
    set_sglang(row, workers, slots, settings);
  } else {
    set_trtllm(row, workers, slots, settings);
  }
  config.max_num_batched_tokens =
      std::max<std::int64_t>(config.max_num_batched_tokens, config.max_num_seqs);
  return settings;
}

MeasuredWorkers started_workers(const MeasuredRow& row) {
  MeasuredWorkers workers = row.aggregated;
  if (all_at_once(row)) {
    workers.batch = kAdmittedAtOnce;
  }
  // vLLM's scripts give attention DP all GPUs (--tensor-parallel-size=1 --data-parallel-size=$TP):
  // a layout of as many tensor shards as ranks is the same number twice.
  ParallelLayout& layout = workers.layout;
  if (row.engine == "vllm" && !row.other_client() && layout.data > 1 &&
      layout.tensor == layout.data && layout.expert == layout.tensor * layout.data) {
    layout.tensor = 1;
    layout.expert = layout.data;
  }
  return workers;
}

std::string engine_version(const MeasuredRow& row) {
  if (!row.version.empty() || row.date.empty()) {
    return row.version;
  }
  if (row.engine == "sglang") {
    return "0.5.3";
  }
  if (row.engine == "trtllm") {
    return contains(row.model, "gpt-oss") ? "1.2.0rc0" : "1.1.0rc2";
  }
  return row.date < "2025-12-05" ? "0.11.0" : "0.11.2";
}

double shortest_length(const MeasuredRow& row) {
  if (scripted(row)) {
    return 0.8;
  }
  // Other clients' are not documented: with SGLang, TTFTs are those of whole rounds that begin
  // together, as with equal lengths; with the other engines slots drift apart slowly.
  return row.engine == "sglang" ? 1.0 : 0.97;
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
