#include "dyn/perf/speculation.h"

#include <string>

#include "dyn/core/error.h"

namespace dyn::perf {

// github.com/SemiAnalysisAI/InferenceX/actions/runs/..., as each file of its speculation folder
// says. Draft methods other than MTP and EAGLE-3 (DSpark) are left out.
const std::vector<AcceptanceLengths>& acceptance_lengths() {
  constexpr SpeculationKind mtp = SpeculationKind::mtp;
  constexpr SpeculationKind eagle = SpeculationKind::eagle;
  static const std::vector<AcceptanceLengths> rows = {
      {"deepseek-v4-pro",
       "DeepSeek",
       mtp,
       true,
       {1.79, 2.27, 2.49, 2.54, 2.55, 2.55, 2.54, 2.58},
       "InferenceX run 27180633016"},
      {"deepseek-v4-pro",
       "DeepSeek",
       mtp,
       false,
       {1.92, 2.61, 2.97, 3.00, 3.10, 3.16, 3.00, 3.11},
       "InferenceX run 27180633016"},
      {"glm-5.2-fp8",
       "GLM-5",
       mtp,
       true,
       {1.84, 2.50, 2.99, 3.33, 3.61, 3.78, 3.91, 4.06},
       "InferenceX run 28058352479"},
      {"kimi-k2.5-nvfp4",
       "Kimi-K2",
       eagle,
       true,
       {1.83, 2.43, 2.88, 3.24, 3.46, 3.62, 3.71, 3.77},
       "InferenceX run 28122195822"},
      {"kimi-k2.5-nvfp4",
       "Kimi-K2",
       eagle,
       false,
       {1.80, 2.33, 2.75, 3.06, 3.25, 3.43, 3.46, 3.51},
       "InferenceX run 28122195822"},
      {"minimax-m3",
       "MiniMax-M",
       eagle,
       true,
       {1.78, 2.38, 2.83, 3.11, 3.35, 3.45, 3.53, 3.74},
       "InferenceX run 28061204145"},
      {"minimax-m3",
       "MiniMax-M",
       eagle,
       false,
       {1.84, 2.52, 2.93, 3.41, 3.59, 3.57, 3.85, 4.06},
       "InferenceX run 28061204145"},
      {"qwen3.5-397b-a17b-nvfp4",
       "Qwen3.5",
       mtp,
       true,
       {1.93, 2.73, 3.39, 3.97, 4.41, 4.80, 5.04, 5.21},
       "InferenceX run 27317114007"},
      {"qwen3.5-397b-a17b-nvfp4",
       "Qwen3.5",
       mtp,
       false,
       {1.92, 2.70, 3.33, 3.83, 4.20, 4.48, 4.73, 4.71},
       "InferenceX run 27317114007"},
  };
  return rows;
}

const AcceptanceLengths* find_acceptance(std::string_view model, SpeculationKind kind,
                                         bool thinking) {
  const AcceptanceLengths* best = nullptr;
  int best_matches = -1;
  for (const AcceptanceLengths& row : acceptance_lengths()) {
    if (model.find(row.family) == std::string_view::npos) {
      continue;
    }
    const int matches = (row.kind == kind ? 2 : 0) + (row.thinking == thinking ? 1 : 0);
    if (matches > best_matches) {
      best = &row;
      best_matches = matches;
    }
  }
  return best;
}

std::optional<Speculation> measured_speculation(const ModelSpec& model, int draft_tokens,
                                                bool thinking) {
  const SpeculationKind kind =
      model.draft_layers > 0 ? SpeculationKind::mtp : SpeculationKind::eagle;
  const AcceptanceLengths* row = find_acceptance(model.name, kind, thinking);
  if (row == nullptr || draft_tokens < 1 || draft_tokens > static_cast<int>(row->lengths.size())) {
    return std::nullopt;
  }
  return Speculation{kind, draft_tokens, row->lengths[static_cast<std::size_t>(draft_tokens - 1)]};
}

Speculation speculation_of(const ModelSpec& model, const SpeculationConfig& config) {
  Speculation speculation;
  speculation.kind =
      config.kind == DraftKind::eagle ? SpeculationKind::eagle : SpeculationKind::mtp;
  speculation.draft_tokens = config.draft_tokens;
  if (config.acceptance_length) {
    speculation.acceptance_length = *config.acceptance_length;
    return speculation;
  }
  const AcceptanceLengths* measured = find_acceptance(model.name, speculation.kind);
  const auto drafts = static_cast<std::size_t>(config.draft_tokens);
  if (measured == nullptr || drafts > measured->lengths.size()) {
    throw Error(ErrorKind::bad_input,
                "no acceptance length was measured for " + model.name + " with " +
                    std::to_string(config.draft_tokens) + " draft tokens",
                "give speculation.acceptance_length");
  }
  speculation.acceptance_length = measured->lengths[drafts - 1];
  return speculation;
}

}  // namespace dyn::perf
