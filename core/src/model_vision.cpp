#include "model_vision.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "model_fields.h"

// Field names and the defaults of absent fields are those of Qwen2_5_VLVisionConfig,
// Qwen3VLVisionConfig and SiglipVisionConfig in Hugging Face transformers; the largest images those
// of the models' preprocessor_config.json.

namespace dyn::detail {
namespace {

class VisionReader {
 public:
  VisionReader(Node config, Problems& problems) : config_(config), problems_(problems) {}

  /// A whole number of at least 1; where absent `fallback`.
  int number(const char* key, std::int64_t fallback) {
    const std::optional<Node> node = config_.find(key);
    constexpr std::int64_t kHigh = 1'000'000;
    return static_cast<int>(node && !node->is_null()
                                ? whole_number(*node, key, 1, kHigh, fallback, problems_)
                                : fallback);
  }
  int length(const char* key, int fallback) {
    const std::optional<Node> node = config_.find(key);
    return node && node->is_list() ? static_cast<int>(node->size()) : fallback;
  }
  /// What every encoder has, where the config says it.
  void sizes(const char* layers, const char* heads, VisionSpec& vision) {
    vision.layers = number(layers, vision.layers);
    vision.hidden = number("hidden_size", vision.hidden);
    vision.intermediate = number("intermediate_size", vision.intermediate);
    vision.heads = number(heads, vision.heads);
    vision.patch = number("patch_size", vision.patch);
  }

 private:
  Node config_;
  Problems& problems_;
};

VisionSpec read_qwen2_5(VisionReader& from) {
  VisionSpec vision = qwen2_5_vision();
  from.sizes("depth", "num_heads", vision);
  vision.merge = from.number("spatial_merge_size", vision.merge);
  const int side = from.number("window_size", 112) / vision.patch;
  vision.window = side * side;
  vision.window_layers = std::max(0, vision.layers - from.length("fullatt_block_indexes", 4));
  return vision;
}

VisionSpec read_qwen3(VisionReader& from, bool deepstack) {
  VisionSpec vision = qwen3_vision();
  from.sizes("depth", "num_heads", vision);
  vision.merge = from.number("spatial_merge_size", vision.merge);
  vision.deepstack = from.length("deepstack_visual_indexes", deepstack ? vision.deepstack : 0);
  return vision;
}

VisionSpec read_siglip(VisionReader& from, const Node& root, Problems& problems) {
  VisionSpec vision = siglip_vision();
  from.sizes("num_hidden_layers", "num_attention_heads", vision);
  vision.image_size = from.number("image_size", vision.image_size);
  const int tokens = VisionReader(root, problems).number("mm_tokens_per_image", 256);
  const int side = static_cast<int>(std::lround(std::sqrt(tokens)));
  vision.merge = std::max(1, vision.image_size / vision.patch / std::max(1, side));
  return vision;
}

}  // namespace

/// 28 of 32 layers attend within windows of 8 x 8 patches.
VisionSpec qwen2_5_vision() {
  VisionSpec vision;
  vision.layers = 32;
  vision.hidden = 1280;
  vision.intermediate = 3420;
  vision.heads = 16;
  vision.gated_mlp = true;
  vision.window = 64;
  vision.window_layers = 28;
  vision.max_pixels = 12'845'056;
  return vision;
}

VisionSpec qwen3_vision() {
  VisionSpec vision;
  vision.layers = 27;
  vision.hidden = 1152;
  vision.intermediate = 4304;
  vision.heads = 16;
  vision.patch = 16;
  vision.deepstack = 3;
  vision.max_pixels = 16'777'216;
  return vision;
}

/// SigLIP with images of 896 x 896, of which 4 x 4 patches make a token: 256 of each.
VisionSpec siglip_vision() {
  VisionSpec vision;
  vision.layers = 27;
  vision.hidden = 1152;
  vision.intermediate = 4304;
  vision.heads = 16;
  vision.merge = 4;
  vision.pooled = true;
  vision.image_size = 896;
  return vision;
}

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
