#include "step_shares.h"

#include <algorithm>
#include <cmath>

namespace dyn::eval {
namespace {

bool has(const std::string& name, const char* part) {
  return name.find(part) != std::string::npos;
}

double& class_of(const std::string& name, ClassTimes& times) {
  if (has(name, "host")) {
    return times.host;
  }
  for (const char* part : {"reduce", "gather", "dispatch", "combine", "send", "all_to_all"}) {
    if (has(name, part)) {
      return times.collective;
    }
  }
  if (has(name, "gemm") || has(name, "router") || has(name, "lm_head")) {
    return times.gemm;
  }
  if (has(name, "expert")) {
    return times.experts;
  }
  if (has(name, "sampling")) {
    return times.sampling;
  }
  for (const char* part : {"attention", "latent", "sparse", "linear", "indexer"}) {
    if (has(name, part)) {
      return times.attention;
    }
  }
  return times.elementwise;
}

StepShares shares(const perf::PerfModel& model, const perf::StepBatch& batch) {
  StepShares out;
  for (const perf::OperatorTime& time : model.explain(batch)) {
    class_of(time.name, out.times) += to_millis(time.time);
  }
  const Estimate estimate = model.estimate(batch);
  out.provenance = estimate.provenance;
  out.relative_error = estimate.value > 0 ? (estimate.high - estimate.value) / estimate.value : 0;
  return out;
}

}  // namespace

StepShares decode_shares(const perf::PerfModel& model, double sequences, double context) {
  perf::StepBatch batch;
  const auto count = static_cast<std::int32_t>(std::max(1.0, std::round(sequences)));
  batch.decode_sequences = count;
  batch.sampled = count;
  batch.decode_context = static_cast<std::int64_t>(std::max(1.0, std::round(context))) * count;
  return shares(model, batch);
}

StepShares prefill_shares(const perf::PerfModel& model, double tokens, double sequences) {
  perf::StepBatch batch;
  const auto count = static_cast<std::int64_t>(std::max(1.0, std::round(sequences)));
  const auto each =
      static_cast<std::int64_t>(std::max(1.0, std::round(tokens / static_cast<double>(count))));
  for (std::int64_t i = 0; i < count; ++i) {
    batch.add_prefill(each, 0, true);
  }
  return shares(model, batch);
}

}  // namespace dyn::eval
