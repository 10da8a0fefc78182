#pragma once

#include <optional>
#include <string_view>

#include "dyn/core/model_spec.h"
#include "dyn/core/node.h"

namespace dyn::detail {

/// The encoders of Qwen2.5-VL, Qwen3-VL (its larger models) and Gemma 3, as their configuration
/// classes have them by default.
VisionSpec qwen2_5_vision();
VisionSpec qwen3_vision();
VisionSpec siglip_vision();

/// The vision encoder that a config.json of `architecture` describes; none where the architecture
/// has none that is known, or the config has no `vision_config`.
std::optional<VisionSpec> read_vision(const Node& root, std::string_view architecture,
                                      Problems& problems);

}  // namespace dyn::detail
