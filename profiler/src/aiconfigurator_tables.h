#pragma once

#include <functional>
#include <string>

#include "dyn/core/gpu_spec.h"
#include "dyn/profiler/import.h"
#include "table_rows.h"

namespace dyn::profiler {

inline constexpr const char* kAiconfigurator =
    "aiconfigurator-core 0.12 (ai-dynamo/aiconfigurator, Apache-2.0)";

/// The measurements of a GPU from the package's tables: for each operator and engine the newest
/// version whose table is not a fragment. `options.note` is told what was read and left out.
/// Throws as import_aiconfigurator does.
Slices read_aiconfigurator(const ImportOptions& options, const GpuSpec& gpu);

}  // namespace dyn::profiler
