#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "dyn/core/engine_config.h"
#include "dyn/core/model_spec.h"
#include "dyn/perf/perf_model.h"

namespace dyn::perf {

/// Acceptance lengths measured with SPEED-Bench (coding, outputs of 4096 tokens, vLLM on B300) by
/// SemiAnalysis InferenceX (commit 843c625, Apache-2.0).
struct AcceptanceLengths {
  std::string_view model;   ///< measured checkpoint
  std::string_view family;  ///< what names of models that behave alike contain
  SpeculationKind kind = SpeculationKind::mtp;
  bool thinking = true;
  std::array<double, 8> lengths{};  ///< with 1, 2, ..., 8 draft tokens
  std::string_view source;          ///< run of the measurement
};

/// All that were measured.
const std::vector<AcceptanceLengths>& acceptance_lengths();

/// The measurement that applies to a model, by its name; none where no relative was measured.
/// Where only another kind of drafting was measured for the family, that.
const AcceptanceLengths* find_acceptance(std::string_view model, SpeculationKind kind,
                                         bool thinking = true);

/// Speculation with `draft_tokens` (1 to 8) as measured for the model or its relatives; none where
/// nothing was. MTP where the model has draft layers, else EAGLE.
std::optional<Speculation> measured_speculation(const ModelSpec& model, int draft_tokens,
                                                bool thinking = true);

/// What an engine's settings mean for a model; where they leave the acceptance length out, as
/// measured. Throws Error(bad_input) where none was.
Speculation speculation_of(const ModelSpec& model, const SpeculationConfig& config);

}  // namespace dyn::perf
