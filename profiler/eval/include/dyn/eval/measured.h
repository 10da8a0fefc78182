#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dyn/core/error.h"
#include "dyn/core/layout.h"
#include "dyn/core/precision.h"

namespace dyn::eval {

/// Equal workers of one role in a measured deployment.
struct MeasuredWorkers {
  ParallelLayout layout;
  int moe_tensor = 1;  ///< GPUs that share each expert
  int workers = 1;
  int batch = 0;  ///< requests in flight of each attention-DP rank; 0: not recorded
};

/// One measured end-to-end point of a table: what ran, and its mean TTFT and TPOT.
struct MeasuredRow {
  std::string id;
  int line = 0;  ///< in the file, from 1
  std::string source;
  std::string date;    ///< of the run, as 2026-01-29; empty: not recorded
  std::string engine;  ///< vllm, sglang or trtllm
  std::string version;
  std::string model;   ///< as the table says
  std::string system;  ///< as the table says, such as h200_sxm
  std::string gpu;     ///< of the catalogue, such as h200
  Precision gemm = Precision::bf16;
  Precision moe = Precision::bf16;
  int isl = 0;  ///< tokens; prompts are 80-100 % of it
  int osl = 0;
  int concurrency = 0;  ///< of the client; 0: not recorded
  int gpus = 0;         ///< all of them
  bool complete = true;
  bool disaggregated = false;
  MeasuredWorkers aggregated;  ///< where not disaggregated
  MeasuredWorkers prefill;
  MeasuredWorkers decode;
  std::optional<double> ttft_ms;  ///< > 0; none where the table is a list of questions
  std::optional<double> tpot_ms;

  /// Requests in flight: the client's concurrency, or else what fills every rank.
  int in_flight() const;
  std::string mode() const { return disaggregated ? "disagg" : "agg"; }
  std::string lengths() const;  ///< such as 1024/1024
  /// Measured by another client than InferenceX's, whose protocol is known.
  bool other_client() const { return source.find("gap-analysis") != std::string::npos; }
  /// Deployments that are alike but for concurrency: system, model, engine, mode, lengths, GPUs.
  std::string group() const;
};

/// The rows of a file, in its order, incomplete ones included.
struct MeasuredTable {
  std::string path;
  std::vector<MeasuredRow> rows;
};

/// Reads a table (RFC 4180, first record names the columns, in any order; unknown columns are
/// left aside). Needed are id, backend, backend_version, model_path, system, mode, isl, osl and
/// gemm_quant_mode; of aggregated rows tp_size and concurrency or batch_size, of disaggregated ones
/// {prefill,decode}_{tp_size,num_workers} and decode_batch_size. The measured silicon_ttft_ms and
/// silicon_tpot_ms may be absent: such a table is a list of questions. Blank numbers are 1 where
/// they are a degree of parallelism, a blank precision is bf16. Throws Error(bad_input) with
/// file:line:column and the row's id for every cell (the first 50) that cannot be read.
MeasuredTable load_measured(const std::string& path);
MeasuredTable parse_measured(std::string_view text, const std::string& name);

}  // namespace dyn::eval
