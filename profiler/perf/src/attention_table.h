#pragma once

#include <string>

#include "dyn/perf/step_timer.h"
#include "measured_grid.h"

namespace dyn::perf {

/// Attention time of one layer measured over (prefill chunk, its prior KV, decoding sequences,
/// KV of each). Batches of prefill or of decode alone have grids of their own; in mixed ones the
/// measured time of both together counts, which is more than their sum on FA2-class kernels.
class AttentionTable {
 public:
  /// Reads attention.csv. Throws Error(bad_input) for a malformed or negative cell, or if there
  /// is no point of prefill alone or of decode alone.
  explicit AttentionTable(const std::string& path);

  /// Seconds of one layer. Several chunks of a step are one of the same sum of squares and the
  /// same cross sum, so that its query-key pairs are theirs; unequal decodes count by their mean.
  double seconds(const StepBatch& batch) const noexcept;

 private:
  struct Prefill {
    double chunk = 0;
    double prior = 0;
    bool operator==(const Prefill&) const = default;
  };
  struct Decode {
    double sequences = 0;
    double context = 0;  ///< of each
    bool operator==(const Decode&) const = default;
  };
  /// The nearest point that was measured alone.
  Prefill measured(const Prefill& p) const noexcept;
  Decode measured(const Decode& d) const noexcept;
  /// Scales the seconds of that point by query-key pairs or by KV tokens read.
  static double beyond(double seconds, const Prefill& p, const Prefill& within) noexcept;
  static double beyond(double seconds, const Decode& d, const Decode& within) noexcept;
  double alone(const Prefill& p) const noexcept;
  double alone(const Decode& d) const noexcept;
  template <class Work>
  double alone(const Work& work, const Work& part, double alone_part) const noexcept;

  MeasuredGrid<2> prefill_;
  MeasuredGrid<2> decode_;
  MeasuredGrid<4> mixed_;  // empty if unmeasured
};

}  // namespace dyn::perf
