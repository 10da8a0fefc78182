#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "dyn/core/profile.h"
#include "dyn/kernels/backend.h"
#include "dyn/profiler/fit.h"
#include "session.h"

namespace dyn::profiler {

/// The samples of one operator.
struct OperatorSamples {
  OperatorKind kind = OperatorKind::gemm;
  Precision precision = Precision::bf16;
  std::string what;  ///< for people, such as GEMM, bf16 weights
  std::vector<Sample> samples;
};

/// Fills `area` with numbers that are ordinary both as fp32 and as pairs of bf16.
void fill_with_numbers(std::span<std::byte> area);

/// Times every kernel over a range of sizes. Weights and caches are taken from ever other places
/// of `area`, which is larger than the processor's caches, as those of a model are; `area` is
/// changed. `budget` is for all of them; sizes that no longer fit into it are left out, but what
/// is left always spans the range.
std::vector<OperatorSamples> time_operators(Session& session, kernels::Backend& backend,
                                            std::span<std::byte> area, Duration budget);

}  // namespace dyn::profiler
