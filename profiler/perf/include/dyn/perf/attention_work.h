#pragma once

#include <memory>

#include "dyn/core/gpu_spec.h"
#include "dyn/perf/operator_work.h"
#include "dyn/perf/perf_model.h"

namespace dyn::perf {

struct Operator;

/// What the attention of one layer of a model computes and moves on one GPU, as its PerfModel
/// counts it: sparse attention with its projections, the gated delta rule with its convolution.
/// Of a model that has several kinds, the first. Immutable.
class AttentionWork {
 public:
  /// Throws as PerfModel::compile does, and Error(bug) for a model without attention.
  AttentionWork(const PerfTarget& target, const GpuSpec& gpu, bool prefill);
  ~AttentionWork();
  AttentionWork(AttentionWork&&) noexcept;
  AttentionWork& operator=(AttentionWork&&) noexcept;

  /// Heads, head size, window and KV precision of the shape do not matter.
  Work at(const AttentionShape& shape) const;

 private:
  std::unique_ptr<const Operator> op_;
};

}  // namespace dyn::perf
