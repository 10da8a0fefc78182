#include "hardware_bounds.h"

#include <fmt/format.h>

#include <algorithm>

namespace dyn::eval {
namespace {

constexpr double kTtftSlack = 16;
constexpr double kTpotSlack = 8;
constexpr const char* kHint = "times are in milliseconds; are these seconds, or of other hardware?";

/// One of the two times, and what the hardware does in it.
struct Kind {
  double LeastTimes::*least;
  double slack;
  const char* name;
  const char* work;
};
constexpr Kind kTtft{&LeastTimes::ttft, kTtftSlack, "TTFT", "compute such a prompt"};
constexpr Kind kTpot{&LeastTimes::tpot, kTpotSlack, "TPOT", "read the weights of a token"};

/// Three digits are what tells units apart.
std::string message(const Kind& kind, double measured, double least, const GpuSpec& gpu, int gpus) {
  return fmt::format("{} of {:.3g} ms, but {} x {} cannot {} in less than {:.3g} ms", kind.name,
                     measured, gpus, gpu.name, kind.work, least * kind.slack);
}

int gpus_of(const ParallelLayout& layout) {
  return layout.tensor * layout.pipeline * layout.data;
}

}  // namespace

LeastTimes least_times(const ModelSpec& model, std::initializer_list<Precision> formats,
                       const GpuSpec& gpu, int gpus, double prompt) {
  double bytes = model.bytes_per_weight(*formats.begin());
  double rate = 0;
  for (const Precision format : formats) {
    bytes = std::min(bytes, model.bytes_per_weight(format));
    rate = std::max(rate, gpu.peak_for(format).count());
  }
  // A token reads one row of each vocabulary matrix that is not lm_head, and a prompt multiplies
  // neither but for its last token.
  const auto active = static_cast<double>(model.active_parameters());
  const auto table = static_cast<double>(model.vocabulary * model.hidden);
  const double read = active - (model.tied_embeddings ? 0 : table);
  const double multiplied = active - (model.tied_embeddings ? 1 : 2) * table;
  const double share = 1e3 / std::max(1, gpus);
  return {2 * multiplied * prompt / rate * share / kTtftSlack,
          read * bytes / gpu.memory_bandwidth.count() * share / kTpotSlack};
}

std::vector<ErrorItem> too_fast(const MeasuredRow& row, const ModelSpec& model, const GpuSpec& gpu,
                                const std::string& table) {
  std::vector<ErrorItem> errors;
  const auto check = [&](const Kind& kind, std::optional<double> measured,
                         const MeasuredWorkers& workers) {
    const int gpus = gpus_of(workers.layout);
    const double least = least_times(model, {row.gemm, row.moe}, gpu, gpus, row.isl).*kind.least;
    if (measured && *measured < least) {
      errors.push_back(
          {fmt::format("row {}: {}", row.id, message(kind, *measured, least, gpu, gpus)),
           Where{table, row.line, 1, {}},
           kHint,
           {}});
    }
  };
  check(kTtft, row.ttft_ms, row.disaggregated ? row.prefill : row.aggregated);
  check(kTpot, row.tpot_ms, row.disaggregated ? row.decode : row.aggregated);
  return errors;
}

std::vector<ErrorItem> too_fast(const RecordedRun& run, const Deployment& deployment) {
  const GpuSpec& gpu = deployment.profile.device;
  const int gpus = gpus_of(deployment.layout);
  const auto least_of = [&](const Kind& kind, double prompt) {
    return least_times(deployment.model, {deployment.weights}, gpu, gpus, prompt).*kind.least;
  };
  double prompt = 0;
  for (const RecordedRequest& request : run.requests) {
    prompt += static_cast<double>(request.isl) / static_cast<double>(run.requests.size());
  }
  std::vector<ErrorItem> errors;
  const auto check = [&](const Kind& kind, double mean, auto time_of) {
    const double least = least_of(kind, prompt);
    if (mean <= 0 || mean >= least) {
      return;
    }
    const auto first =
        std::find_if(run.requests.begin(), run.requests.end(), [&](const RecordedRequest& r) {
          const double time = time_of(r);
          return time > 0 && time < least_of(kind, static_cast<double>(r.isl));
        });
    const int line = first != run.requests.end() ? first->line : 0;
    errors.push_back({"a mean " + message(kind, mean, least, gpu, gpus),
                      Where{run.name, line, line > 0 ? 1 : 0, {}},
                      kHint,
                      {}});
  };
  check(kTtft, run.mean_ttft_ms(), [](const RecordedRequest& r) { return r.ttft_ms; });
  check(kTpot, run.mean_itl_ms(), [](const RecordedRequest& r) { return r.itl_ms(); });
  return errors;
}

}  // namespace dyn::eval
