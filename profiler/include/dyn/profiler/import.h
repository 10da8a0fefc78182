#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "dyn/core/profile.h"

namespace dyn::profiler {

struct ImportOptions {
  std::string path;  ///< the unpacked package, or the folder of tables
  std::string gpu;   ///< of the catalogue, such as h200
  const std::atomic<bool>* cancelled = nullptr;
  std::function<void(const std::string&)> note;  ///< told what is read and what is left out
  /// The profile that the fits are put into; none: the specification profile of `gpu`.
  std::optional<Profile> base = std::nullopt;
};

/// The profile of a GPU from the operator tables of the PyPI package `aiconfigurator-core`
/// (Apache-2.0): for each engine and operator the newest version whose table is not a fragment.
/// Operators that it has no table for keep the constants of the specification profile. Throws
/// Error(bad_input) for a table that is malformed or cannot be (see TableRows), Error(usage) for a
/// GPU that the package has no tables of, Error(failed) when cancelled.
Profile import_aiconfigurator(const ImportOptions& options);

/// The profile of a GPU from layer times measured inside vLLM: `path` has folders
/// MODEL/PRECISION/tpN with dense.csv, per_sequence.csv, attention.csv and, for experts, moe.csv,
/// as load_layer_tables reads them. GEMMs, element-wise kernels, sampling, attention of prefill
/// and decode, and what both take beyond their sum in mixed batches. A base that has surfaces of
/// an operator keeps them. Throws Error(bad_input) with file and row for a table that is malformed
/// or cannot be, for a model that is not in the catalogue, and where there is no such folder.
Profile import_vllm_layers(const ImportOptions& options);

/// The profile of a GPU from Vidur's tables (microsoft/vidur, MIT): `path` has folders
/// compute/GPU/MODEL with mlp.csv and network/GPU_dgx with all_reduce.csv and send_recv.csv. FP16
/// GEMMs, element-wise kernels, all-reduce and send/recv within a node. Throws as
/// import_vllm_layers does.
Profile import_vidur(const ImportOptions& options);

}  // namespace dyn::profiler
