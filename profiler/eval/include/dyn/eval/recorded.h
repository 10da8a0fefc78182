#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dyn/core/quantity.h"

namespace dyn::eval {

/// One request of a recorded run.
struct RecordedRequest {
  Duration sent{0};      ///< since the start of the run
  std::int64_t isl = 0;  ///< tokens, >= 1
  std::int64_t osl = 0;  ///< tokens made, >= 1
  double ttft_ms = 0;    ///< > 0
  double e2e_ms = 0;     ///< >= ttft_ms
  int line = 0;          ///< of its file; 0: none

  /// (e2e - ttft) / (osl - 1); 0 where there is one token.
  double itl_ms() const { return osl > 1 ? (e2e_ms - ttft_ms) / static_cast<double>(osl - 1) : 0; }
};

/// A load on one deployment and what was measured of it.
struct RecordedRun {
  std::string name;
  std::vector<RecordedRequest> requests;  ///< in order of sending
  int concurrency = 0;                    ///< closed loop with so many slots; 0: open loop
  /// Requests stand for the run's means: lengths are drawn, times equal.
  bool means_only = false;

  double mean_ttft_ms() const;
  double mean_itl_ms() const;  ///< over requests with two or more tokens
  double mean_e2e_ms() const;
};

/// Reads a run. By the end of the name:
///   .jsonl  one request a line: sent_ms, isl, osl, ttft_ms, e2e_ms, or AIPerf's
///   profile_export.jsonl
///           (metadata.request_start_ns and metrics; lines with an error are left out)
///   .json   AIPerf's profile_export_aiperf.json: means, with the load of its input_config
/// Whether a run by requests is a closed loop is seen from it: each request after the first ones is
/// sent within 20 ms of the end of another. Throws Error(bad_input) with file:line:column.
RecordedRun load_recorded_run(const std::string& path);
RecordedRun parse_recorded_run(const std::string& text, const std::string& name);

}  // namespace dyn::eval
