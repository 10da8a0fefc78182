#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "dyn/core/profile.h"

namespace dyn::profiler {

struct ImportOptions {
  std::string path;  ///< the unpacked package, or the folder of tables
  std::string gpu;   ///< of the catalogue, such as h200
  const std::atomic<bool>* cancelled = nullptr;
  std::function<void(const std::string&)> note;  ///< told what is read and what is left out
};

/// The profile of a GPU from the operator tables of the PyPI package `aiconfigurator-core`
/// (Apache-2.0): for each engine and operator the newest version whose table is not a fragment.
/// Operators that it has no table for keep the constants of the specification profile. Throws
/// Error(bad_input) for a table that is malformed or cannot be (see TableRows), Error(usage) for a
/// GPU that the package has no tables of, Error(failed) when cancelled.
Profile import_aiconfigurator(const ImportOptions& options);

}  // namespace dyn::profiler
