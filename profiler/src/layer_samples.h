#pragma once

#include <string>
#include <utility>
#include <vector>

#include "collector.h"
#include "dyn/profiler/fit.h"
#include "dyn/profiler/import.h"
#include "table_rows.h"

namespace dyn::profiler {

/// Element-wise kernels and sampling, which have no surface: a roofline with a correction by bytes.
class PlainSamples {
 public:
  explicit PlainSamples(std::string source) : source_(std::move(source)) {}

  /// `bytes` read and written by one kernel in `seconds`, in that row of the collector's table,
  /// which counts it where that is too fast to be.
  void elementwise(Collector& from, std::size_t row, double bytes, double seconds) {
    add(elementwise_, from, row, bytes, seconds);
  }
  void sampling(Collector& from, std::size_t row, double bytes, double seconds) {
    add(sampling_, from, row, bytes, seconds);
  }

  /// The fits of those that have samples, for the device that they were measured on.
  std::vector<OperatorFit> fits(const GpuSpec& gpu) const;

 private:
  static void add(std::vector<Sample>& samples, Collector& from, std::size_t row, double bytes,
                  double seconds) {
    if (from.possible(row, Precision::bf16, 0, bytes, seconds)) {
      samples.push_back({bytes, 0, bytes, seconds});
    }
  }
  std::string source_;
  std::vector<Sample> elementwise_;
  std::vector<Sample> sampling_;
};

/// Tells the user of an import which rows of `file` were left out as too fast; nothing where none.
void note_too_fast(const ImportOptions& options, const std::string& file,
                   const TableSummary& summary);

/// Puts the fits of the slices and the plain samples into the base of the import.
Profile finish_import(const ImportOptions& options, const std::string& what, Profile profile,
                      const Slices& slices, const PlainSamples& plain);

}  // namespace dyn::profiler
