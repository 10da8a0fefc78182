#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "dyn/core/profile.h"
#include "table_rows.h"

namespace dyn::profiler {

struct SliceFitOptions {
  const std::atomic<bool>* cancelled = nullptr;
  std::function<void(const std::string&)> note;  ///< may be empty
};

/// What a slice is fitted from and asked for.
SurfaceInput surface_input(const Slice& slice, const GpuSpec& gpu);

/// The fits of all slices of 20 samples or more, with the surfaces that pay: the best of every
/// slice, then, until the profile stays below 1 MB, a coarser one where that costs least a value.
/// Throws Error(failed) when cancelled.
std::vector<OperatorFit> fit_slices(const Slices& slices, const GpuSpec& gpu,
                                    const SliceFitOptions& options);

/// Puts fits into a profile in place of those that they make needless: of the same operator,
/// group size and (GEMM, MoE) precision, of any engine or the same, and without surfaces or of the
/// same slice. The others stay, after them.
void put_fits(std::vector<OperatorFit> fits, Profile& profile);

}  // namespace dyn::profiler
