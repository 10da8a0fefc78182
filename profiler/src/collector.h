#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dyn/perf/operator_work.h"
#include "table_rows.h"

namespace dyn::profiler {

constexpr double kMilliseconds = 1e-3;

/// The precision that tables name so; none where dyn has no such format.
std::optional<Precision> table_precision(const std::string& name);

/// Precisions of a text column's dictionary.
std::vector<std::optional<Precision>> precisions(const TableColumn& column);

/// Experts of this shape (moe, moe_dispatched) that took `seconds`.
SurfaceSample expert_sample(const perf::ExpertShape& shape, double seconds);

/// Collects one table's rows: refuses what cannot be, and counts what is left out.
class Collector {
 public:
  Collector(const TableRows& rows, const GpuSpec& gpu, Slices& slices);

  void unknown() { ++summary_.unknown; }
  void explain(const std::string& why) { summary_.why = ": " + why; }
  /// Of several times of the same work the shortest counts: engines choose the faster kernel.
  /// `multiplied` is the precision of the arithmetic where it is not the key's own. False where the
  /// row is left out as too fast.
  bool add(std::size_t row, const OperatorFit& key, const SurfaceSample& sample,
           std::optional<Precision> multiplied = std::nullopt);
  /// Whether the device can do so much in `seconds`; counts the row as too fast where not. For what
  /// is not added as a sample. `flops` may be 0.
  bool possible(std::size_t row, Precision precision, double flops, double bytes, double seconds);
  /// Throws Error(bad_input) where more than a fiftieth of the rows were too fast.
  TableSummary finish() const;

 private:
  /// The least seconds of so much work, in caches.
  double device_limit(Precision precision, double flops, double bytes) const;
  /// Counts the row as too fast, and remembers the first, unless it takes `least` seconds.
  bool above(std::size_t row, double seconds, double least);

  const TableRows& rows_;
  const GpuSpec& gpu_;
  Slices& slices_;
  TableSummary summary_;
  using Point = std::array<double, kMaxQuantities>;
  std::map<std::string, std::map<Point, std::size_t>> seen_;
  std::size_t first_ = 0;  // of the rows that are too fast
};

}  // namespace dyn::profiler
