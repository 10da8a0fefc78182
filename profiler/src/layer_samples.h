#pragma once

#include <string>
#include <utility>
#include <vector>

#include "dyn/profiler/fit.h"
#include "dyn/profiler/import.h"
#include "table_rows.h"

namespace dyn::profiler {

/// Element-wise kernels and sampling, which have no surface: a roofline with a correction by bytes.
class PlainSamples {
 public:
  explicit PlainSamples(std::string source) : source_(std::move(source)) {}

  /// `bytes` read and written by one kernel in `seconds`.
  void elementwise(double bytes, double seconds) { add(elementwise_, bytes, seconds); }
  void sampling(double bytes, double seconds) { add(sampling_, bytes, seconds); }

  /// The fits of those that have samples, for the device that they were measured on.
  std::vector<OperatorFit> fits(const GpuSpec& gpu) const;

 private:
  static void add(std::vector<Sample>& samples, double bytes, double seconds) {
    samples.push_back({bytes, 0, bytes, seconds});
  }
  std::string source_;
  std::vector<Sample> elementwise_;
  std::vector<Sample> sampling_;
};

/// Puts the fits of the slices and the plain samples into the base of the import.
Profile finish_import(const ImportOptions& options, const std::string& what, Profile profile,
                      const Slices& slices, const PlainSamples& plain);

}  // namespace dyn::profiler
