#pragma once

#include <map>
#include <string>
#include <vector>

#include "dyn/perf/perf_model.h"

namespace dyn::perf::test {

/// A row of a table by its header's names.
using TableRow = std::map<std::string, std::string>;

/// The rows of silicon/train.csv that are complete.
std::vector<TableRow> complete_rows(const std::string& path);

/// A measured aggregated deployment of a dense model on H100 or H200, one engine.
struct SiliconRow {
  std::string id;
  std::string gpu;  ///< catalogue id
  PerfTarget target;
  double isl = 0;
  double osl = 0;
  double concurrency = 0;  ///< of one engine rank
  double ttft_ms = 0;
  double tpot_ms = 0;
};

/// The complete rows of silicon/train.csv that are dense, aggregated, on H100 or H200 and in bf16
/// or fp8; merged with nothing left out but those.
std::vector<SiliconRow> read_silicon_rows(const std::string& path);

/// Mean step of a closed loop in its steady state: every slot decodes at its mean context, and
/// each request's prefill chunks ride along once. No more slots run than `kv_tokens` hold.
/// Milliseconds.
double closed_loop_tpot_ms(const StepTimer& timer, const SiliconRow& row, std::int64_t kv_tokens);

}  // namespace dyn::perf::test
