#pragma once

#include <optional>

#include "dyn/core/model_spec.h"
#include "dyn/core/node.h"
#include "dyn/core/precision.h"

namespace dyn::detail {

/// How the weights of a checkpoint are stored, from the `quantization_config` of its config.json;
/// none, and a problem, where that is not supported.
std::optional<Precision> read_quantization(const Node& node, Problems& problems);

/// What the modules that a `quantization_config` excepts leave in 4 bits; none where it names none.
std::optional<FourBitScope> read_four_bit_scope(const Node& node);

/// Weights that share a scale in an int4 checkpoint: its `group_size`, 128 where it has none.
int read_int4_group(const Node& node, Problems& problems);

}  // namespace dyn::detail
