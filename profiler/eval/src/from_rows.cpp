#include <fmt/format.h>

#include <algorithm>

#include "client.h"
#include "dyn/core/error.h"
#include "dyn/eval/calibrate.h"
#include "dyn/perf/builtin_profiles.h"
#include "dyn/perf/perf_model.h"
#include "hardware_bounds.h"
#include "serving.h"

namespace dyn::eval {
namespace {

/// What must be equal in rows of one deployment.
std::string deployment_of(const MeasuredRow& row) {
  const ParallelLayout& l = row.aggregated.layout;
  return fmt::format("{}, {}, {} {}, tp {} pp {} dp {} ep {}", row.system, row.model, row.engine,
                     row.version, l.tensor, l.pipeline, l.data, l.expert);
}

[[noreturn]] void refuse(const MeasuredTable& table, const MeasuredRow& row, std::string message,
                         std::string hint = {}) {
  throw Error(ErrorKind::bad_input,
              std::vector<ErrorItem>{{fmt::format("row {}: {}", row.id, message),
                                      Where{table.path, row.line, 1, {}},
                                      std::move(hint),
                                      {}}});
}

int slots_of(const MeasuredRow& row) {
  const int data = std::max(1, row.aggregated.layout.data);
  return row.aggregated.batch > 0 ? row.aggregated.batch : row.in_flight() / data;
}

RecordedRun run_of(const MeasuredRow& row) {
  RecordedRun run;
  run.name = row.id;
  run.means_only = true;
  run.concurrency = slots_of(row);
  const sim::Workload workload = client(row, run.concurrency, shortest_length(row), 1);
  for (const sim::WorkloadRequest& request : workload.requests) {
    const double rest = *row.tpot_ms * static_cast<double>(request.output_tokens - 1);
    run.requests.push_back({Duration{0}, request.input_tokens, request.output_tokens, *row.ttft_ms,
                            *row.ttft_ms + rest});
  }
  return run;
}

}  // namespace

MeasuredRuns runs_of(const MeasuredTable& table) {
  MeasuredRuns out;
  const MeasuredRow& first = table.rows.front();
  Deployment& deployment = out.deployment;
  deployment.profile = perf::builtin_profile(first.gpu);
  deployment.model = measured_model(first.model);
  std::vector<ErrorItem> errors;
  int most = 1;
  const MeasuredRow* longest = &first;
  for (const MeasuredRow& row : table.rows) {
    if (row.disaggregated) {
      refuse(table, row, "a disaggregated deployment cannot be calibrated");
    }
    if (!row.ttft_ms || !row.tpot_ms || slots_of(row) <= 0) {
      refuse(table, row, "TTFT, TPOT or concurrency is not recorded");
    }
    if (deployment_of(row) != deployment_of(first)) {
      refuse(table, row,
             fmt::format("another deployment ({}) than that of row {} ({})", deployment_of(row),
                         first.id, deployment_of(first)),
             "calibrate one deployment at a time");
    }
    for (ErrorItem& error :
         too_fast(row, deployment.model, deployment.profile.device, table.path)) {
      errors.push_back(std::move(error));
    }
    most = std::max(most, slots_of(row));
    longest = row.isl + row.osl > longest->isl + longest->osl ? &row : longest;
    out.runs.push_back(run_of(row));
  }
  if (!errors.empty()) {
    throw Error(ErrorKind::bad_input, std::move(errors));
  }
  const ServingSettings settings =
      serving_settings(*longest, first.aggregated, deployment.model, most);
  deployment.weights = settings.weights;
  deployment.kv_cache = settings.kv_cache;
  deployment.config = settings.config;
  if (!first.version.empty()) {
    deployment.config.version = first.version;
  }
  deployment.layout = layouts_near(deployment.model, first.aggregated).front();
  return out;
}

}  // namespace dyn::eval
