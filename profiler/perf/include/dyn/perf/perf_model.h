#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dyn/core/layout.h"
#include "dyn/core/model_spec.h"
#include "dyn/core/profile.h"
#include "dyn/core/provenance.h"
#include "dyn/perf/step_timer.h"

namespace dyn::perf {

/// What a PerfModel is compiled for.
struct PerfTarget {
  ModelSpec model;
  Precision weights = Precision::bf16;
  Precision kv_cache = Precision::bf16;
  ParallelLayout layout;
  std::string engine = "vllm";
  /// Steps of up to 512 tokens run padded to vLLM's CUDA-graph sizes; never on a CPU.
  bool cuda_graphs = true;
};

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
