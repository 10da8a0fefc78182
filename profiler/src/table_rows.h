#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "dyn/core/gpu_spec.h"
#include "dyn/core/profile.h"
#include "dyn/perf/operator_work.h"
#include "dyn/profiler/parquet.h"
#include "surface_fit.h"

namespace dyn::profiler {

/// Measurements that one OperatorFit is made from.
struct Slice {
  OperatorFit key;  ///< everything but the fitted constants
  std::vector<std::string> quantities;
  std::vector<SurfaceSample> samples;
};

/// What tells the slices apart, as text.
std::string key_text(const OperatorFit& key);

/// Slices by key_text().
using Slices = std::map<std::string, Slice>;

using QuantityPoint = std::array<double, kMaxQuantities>;

/// The quantities of grouped attention. `first` is the queries of prefill or the context of
/// decode, `prior` the tokens before a chunk.
QuantityPoint attention_point(double first, const perf::AttentionShape& shape, double prior);

/// What was read and what was left out, for the fit's source and the user.
struct TableSummary {
  std::size_t rows = 0;
  std::size_t used = 0;
  std::size_t too_fast = 0;      ///< beyond the device's peak: not believed
  std::size_t unknown = 0;       ///< of a type that dyn does not model
  std::size_t repeated = 0;      ///< the same point again: the shortest counts
  std::string first_too_fast{};  ///< which row was the first of them, and its limit
  std::string why{};             ///< more on the rows of formats and kernels not modelled; or empty
};

/// How many rows were too fast and which was the first, for people.
std::string too_fast_text(const TableSummary& summary);

/// A table with typed access to its rows. Throws Error(bad_input) for a column that is missing or
/// of the other type, and for values that cannot be; rows count from 1.
class TableRows {
 public:
  explicit TableRows(const Table& table) : table_(table) {}

  std::size_t size() const { return table_.rows; }
  const Table& table() const { return table_; }
  const TableColumn& numbers(std::string_view name) const;
  const TableColumn& texts(std::string_view name) const;
  bool has(std::string_view name) const { return table_.find(name) != nullptr; }
  /// A number of that row. Throws unless it is finite and > 0 (or >= 0, if zero is allowed).
  double positive(const TableColumn& column, std::size_t row, bool zero = false) const;
  [[noreturn]] void refuse(std::size_t row, const std::string& why) const;

 private:
  const TableColumn& column(std::string_view name, bool text) const;
  /// Names the first cell of a column of texts that is not a number.
  [[noreturn]] void refuse_text(const TableColumn& column) const;
  const Table& table_;
};

/// Adds a table's rows to the slices. `key` has the engine and its version; `gpu` gives the limit
/// that no time can be below. Throws Error(bad_input) as TableRows does, and where more than a
/// fiftieth of the rows are faster than the device can be, naming the first: wrong units.
class TableImporter {
 public:
  TableImporter(const GpuSpec& gpu, Slices& slices) : gpu_(gpu), slices_(slices) {}

  TableSummary gemm(const Table& table, const OperatorFit& key);
  TableSummary prefill(const Table& table, const OperatorFit& key);
  TableSummary decode(const Table& table, const OperatorFit& key);
  TableSummary latent_prefill(const Table& table, const OperatorFit& key);
  TableSummary latent_decode(const Table& table, const OperatorFit& key);
  TableSummary sparse_prefill(const Table& table, const OperatorFit& key);
  TableSummary sparse_decode(const Table& table, const OperatorFit& key);
  TableSummary linear(const Table& table, const OperatorFit& key);
  TableSummary moe(const Table& table, const OperatorFit& key);
  /// Experts that an all-to-all brings tokens to (moe_dispatched), in decode and in prefill.
  TableSummary dispatched_decode(const Table& table, const OperatorFit& key);
  TableSummary dispatched_prefill(const Table& table, const OperatorFit& key);
  TableSummary all_reduce(const Table& table, const OperatorFit& key);
  TableSummary nccl(const Table& table, const OperatorFit& key);
  /// The way of tokens to their experts and back, a sample each: half of both (all_to_all).
  TableSummary expert_exchange(const Table& table, const OperatorFit& key);
  /// The same of DeepEP between nodes; within one, dyn's models gather and scatter tokens.
  TableSummary deepep_low_latency(const Table& table, const OperatorFit& key);
  TableSummary deepep_normal(const Table& table, const OperatorFit& key);

 private:
  const GpuSpec& gpu_;
  Slices& slices_;
};

/// The surfaces that are tried for an operator, from coarse to fine.
std::vector<SurfaceDesign> surface_designs(OperatorKind kind);

/// The quantities of an operator, in the order of its samples.
std::vector<std::string> surface_quantities(OperatorKind kind);

}  // namespace dyn::profiler
