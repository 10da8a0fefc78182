// What a multimodal model makes of images.
#include <algorithm>
#include <cmath>

#include "dyn/core/check.h"
#include "dyn/core/encoding.h"
#include "dyn/core/error.h"
#include "dyn/core/model_spec.h"

namespace dyn {

/// As the image processors of Qwen2-VL and its successors scale: each side to the nearest multiple
/// of a token's, at least one; where that has too many pixels both by one factor, rounded down.
std::int64_t VisionSpec::patches(int width, int height) const {
  DYN_ASSERT(width >= 1 && height >= 1, "an image has pixels");
  const std::int64_t side = std::int64_t{patch} * merge;
  std::int64_t w = image_size > 0 ? image_size : width;
  std::int64_t h = image_size > 0 ? image_size : height;
  const auto nearest = [side](std::int64_t x) {
    return std::max(side, (2 * x + side) / (2 * side) * side);
  };
  const std::int64_t pixels = nearest(w) * nearest(h);
  if (max_pixels > 0 && pixels > max_pixels) {
    const double shrink = std::sqrt(static_cast<double>(w * h) / static_cast<double>(max_pixels));
    const auto down = [&](std::int64_t x) {
      return std::max(side,
                      static_cast<std::int64_t>(static_cast<double>(x) / shrink) / side * side);
    };
    w = down(w);
    h = down(h);
  } else {
    w = nearest(w);
    h = nearest(h);
  }
  return w / patch * (h / patch);
}

std::int64_t VisionSpec::layer_parameters() const {
  const std::int64_t mlp = (gated_mlp ? 3 : 2) * hidden * intermediate;
  return layers * (4 * hidden * hidden + mlp);
}

/// One projection to the language model and one for each further layer that is handed over.
std::int64_t VisionSpec::projection_parameters(std::int64_t out) const {
  const std::int64_t merged = hidden * merge * merge;
  return (1 + deepstack) * (pooled ? hidden * out : merged * (merged + out));
}

ImageSize image_size(const ImageMix& mix, const ModelSpec& model) {
  if (!model.vision && !mix.tokens) {
    throw Error(ErrorKind::bad_input, "no vision encoder of '" + model.name + "' is known",
                "give images.tokens and timing.image_time, or a model that has one, such as "
                "Qwen/Qwen3-VL-8B-Instruct");
  }
  const std::int64_t merge = model.vision ? model.vision->merge : 2;
  if (mix.tokens) {
    return {*mix.tokens * merge * merge, *mix.tokens};
  }
  const std::int64_t patches = model.vision->patches(mix.width, mix.height);
  return {patches, patches / (merge * merge)};
}

}  // namespace dyn
