#pragma once

#include <optional>
#include <string_view>

#include "dyn/core/model_spec.h"
#include "dyn/core/node.h"

namespace dyn::detail {

/// The vision encoder that a config.json of `architecture` describes; none where the architecture
/// has none that is known, or the config has no `vision_config`.
std::optional<VisionSpec> read_vision(const Node& root, std::string_view architecture,
                                      Problems& problems);

}  // namespace dyn::detail
