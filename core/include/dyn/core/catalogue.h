#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dyn/core/gpu_spec.h"
#include "dyn/core/model_spec.h"

namespace dyn {

class Document;

/// Every GPU that dyn knows, in a fixed order, each figure with its source.
const std::vector<GpuSpec>& gpu_catalogue();

/// The GPU of that id (case-insensitive; aliases such as h100-sxm), or Error(bad_input) that
/// names the nearest.
const GpuSpec& find_gpu(std::string_view id);

/// Names of the built-in models, in a fixed order.
std::vector<std::string> model_names();

/// The built-in model of that name (case-insensitive; with or without the organisation), or if
/// `name` ends in .json or names a folder, the model of that config.json. Throws
/// Error(bad_input) with the nearest names.
ModelSpec find_model(const std::string& name);

/// Reads a Hugging Face config.json: Llama, Qwen2, Qwen3, Mistral, Gemma (1-3), Qwen3-MoE,
/// Mixtral, DeepSeek-V3/R1/V3.2, Kimi-K2, GLM-5, gpt-oss, MiniMax-M2, Qwen3-Next, Qwen3.5,
/// Llama-4. Any other architecture is Error(bad_input) that lists these. How its
/// weights are quantised may be in an hf_quant_config.json beside it.
ModelSpec read_model_config(const std::string& path);
ModelSpec parse_model_config(const Document& document);

}  // namespace dyn
