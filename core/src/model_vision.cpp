#include "model_vision.h"

#include <cmath>
#include <limits>
#include <string>

// Field names and the defaults of absent fields are those of Qwen2_5_VLVisionConfig,
// Qwen3VLVisionConfig and SiglipVisionConfig in Hugging Face transformers; the largest images those
// of the models' preprocessor_config.json.

namespace dyn::detail {
namespace {

class VisionReader {
 public:
  VisionReader(Node config, Problems& problems) : config_(config), problems_(problems) {}

  /// A whole number of at least 1; where absent `fallback`.
  int number(const char* key, int fallback) {
    const std::optional<Node> node = config_.find(key);
    if (!node || node->is_null()) {
      return fallback;
    }
    const std::optional<std::int64_t> value = node->as_int();
    constexpr std::int64_t kHigh = 1'000'000;
    if (!value || *value < 1 || *value > kHigh) {
      problems_.add(*node, "expected '" + std::string(key) + "' to be a whole number from 1 to " +
                               std::to_string(kHigh) + ", got " + node->quote());
      return fallback;
    }
    return static_cast<int>(*value);
  }
  int length(const char* key, int fallback) {
    const std::optional<Node> node = config_.find(key);
    return node && node->is_list() ? static_cast<int>(node->size()) : fallback;
  }

 private:
  Node config_;
  Problems& problems_;
};

VisionSpec read_qwen2_5(VisionReader& from) {
  VisionSpec vision;
  vision.layers = from.number("depth", 32);
  vision.hidden = from.number("hidden_size", 1280);
  vision.intermediate = from.number("intermediate_size", 3420);
  vision.heads = from.number("num_heads", 16);
  vision.gated_mlp = true;
  vision.patch = from.number("patch_size", 14);
  vision.merge = from.number("spatial_merge_size", 2);
  const int side = from.number("window_size", 112) / vision.patch;
  vision.window = side * side;
  vision.window_layers = std::max(0, vision.layers - from.length("fullatt_block_indexes", 4));
  vision.max_pixels = 12'845'056;
  return vision;
}

VisionSpec read_qwen3(VisionReader& from, bool deepstack) {
  VisionSpec vision;
  vision.layers = from.number("depth", 27);
  vision.hidden = from.number("hidden_size", 1152);
  vision.intermediate = from.number("intermediate_size", 4304);
  vision.heads = from.number("num_heads", 16);
  vision.patch = from.number("patch_size", 16);
  vision.merge = from.number("spatial_merge_size", 2);
  vision.deepstack = from.length("deepstack_visual_indexes", deepstack ? 3 : 0);
  vision.max_pixels = 16'777'216;
  return vision;
}

VisionSpec read_siglip(VisionReader& from, const Node& root, Problems& problems) {
  VisionSpec vision;
  vision.layers = from.number("num_hidden_layers", 27);
  vision.hidden = from.number("hidden_size", 1152);
  vision.intermediate = from.number("intermediate_size", 4304);
  vision.heads = from.number("num_attention_heads", 16);
  vision.patch = from.number("patch_size", 14);
  vision.image_size = from.number("image_size", 896);
  const int tokens = VisionReader(root, problems).number("mm_tokens_per_image", 256);
  const int side = static_cast<int>(std::lround(std::sqrt(tokens)));
  vision.pooled = true;
  vision.merge = std::max(1, vision.image_size / vision.patch / std::max(1, side));
  return vision;
}

}  // namespace

std::optional<VisionSpec> read_vision(const Node& root, std::string_view architecture,
                                      Problems& problems) {
  const std::optional<Node> config = root.find("vision_config");
  if (!config || !config->is_object()) {
    return std::nullopt;
  }
  VisionReader from(*config, problems);
  std::optional<VisionSpec> vision;
  if (architecture == "Qwen2_5_VLForConditionalGeneration") {
    vision = read_qwen2_5(from);
  } else if (architecture.starts_with("Qwen3VL")) {
    vision = read_qwen3(from, true);
  } else if (architecture.starts_with("Qwen3_5")) {
    vision = read_qwen3(from, false);
  } else if (architecture == "Gemma3ForConditionalGeneration") {
    vision = read_siglip(from, root, problems);
  }
  if (vision && vision->hidden % vision->heads != 0) {
    problems.add(*config, "expected the heads of the vision encoder to divide its hidden size " +
                              std::to_string(vision->hidden) + ", got " +
                              std::to_string(vision->heads));
  }
  return vision;
}

}  // namespace dyn::detail
