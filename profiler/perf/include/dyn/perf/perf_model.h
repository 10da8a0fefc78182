#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dyn/core/layout.h"
#include "dyn/core/model_spec.h"
#include "dyn/core/plan.h"
#include "dyn/core/profile.h"
#include "dyn/core/provenance.h"
#include "dyn/perf/step_timer.h"

namespace dyn::perf {

enum class SpeculationKind {
  mtp,    ///< the model's own draft layers, each of the shape of its last
  eagle,  ///< EAGLE: one dense layer trained beside the model, in bf16
};

/// Speculative decoding: in each step a sequence has 1 + draft_tokens tokens computed and keeps
/// acceptance_length of them on average.
struct Speculation {
  SpeculationKind kind = SpeculationKind::mtp;
  int draft_tokens = 1;          ///< at least 1
  double acceptance_length = 1;  ///< [1, 1 + draft_tokens]
};

/// What a PerfModel is compiled for.
struct PerfTarget {
  ModelSpec model;
  Precision weights = Precision::bf16;
  Precision kv_cache = Precision::bf16;
  ParallelLayout layout;
  std::string engine = "vllm";
  /// Steps of up to 512 tokens run padded to vLLM's CUDA-graph sizes; never on a CPU.
  bool cuda_graphs = true;
  std::string engine_version{};  ///< such as 0.22.0; empty: the newest that the profile knows
  std::optional<Speculation> speculation = std::nullopt;
  /// Of attention, and of routed experts; default as weight_formats() has it.
  std::optional<Precision> attention_weights = std::nullopt;
  std::optional<Precision> expert_weights = std::nullopt;
  /// The GPUs hold the model's vision encoder too, in bf16.
  bool encodes_images = false;

  /// Tokens that one decoding sequence has computed in a step.
  int tokens_per_decode() const { return 1 + (speculation ? speculation->draft_tokens : 0); }
};

/// What the workers of a plan's pool run.
PerfTarget target_of(const Plan& plan, const PoolSpec& pool);

/// The profile with only those of its fits that the targets' operators are priced with: every
/// PerfModel of them is the same with either. Throws as PerfModel::compile does.
Profile profile_for(const Profile& profile, const std::vector<PerfTarget>& targets);

/// In which formats the matrices of a model are stored.
struct WeightFormats {
  Precision attention = Precision::bf16;  ///< linear attention too
  Precision dense = Precision::bf16;      ///< dense MLPs and shared experts
  Precision experts = Precision::bf16;
};

/// The formats of a target: `weights`, but for what a 4-bit checkpoint of the model leaves in bf16
/// and what the target says itself.
WeightFormats weight_formats(const PerfTarget& target);

/// The share of one operator in a step.
struct OperatorTime {
  std::string name;  ///< such as qkv_gemm; of all layers together
  Duration time{0};
  std::string bound_by;  ///< compute, memory, network, latency or host
  Provenance provenance = Provenance::specification;
  double relative_error = 0;  ///< half-width of the 90 % interval
  std::string source;
};

/// The latency model of one (model, device, layout, precision): a list of operators compiled
/// into flat tables. GEMMs run once over the combined tokens of a step, attention is summed per
/// sequence from the batch's sums, collectives and host time are explicit; a mixed step is never
/// priced as prefill plus decode. Immutable; shared by threads.
class PerfModel final : public StepTimer {
 public:
  /// Throws Error(infeasible) where the layout does not divide the model.
  static std::shared_ptr<const PerfModel> compile(const PerfTarget& target, const Profile& profile);
  ~PerfModel() override;

  Duration step_time(const StepBatch& batch) const noexcept override;
  Duration frontend_time() const noexcept override;

  /// Step time in seconds with its interval and the worst provenance among its operators.
  Estimate estimate(const StepBatch& batch) const;
  /// The operators of a step, in order of execution; their times add up to step_time within
  /// rounding, host time included.
  std::vector<OperatorTime> explain(const StepBatch& batch) const;

 private:
  PerfModel();
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

/// `timer` slowed by a constant factor: the bounds of a prediction are runs with slower and
/// faster steps.
std::shared_ptr<const StepTimer> scaled(std::shared_ptr<const StepTimer> timer, double factor);

}  // namespace dyn::perf
