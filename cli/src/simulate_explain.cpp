#include "simulate_explain.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "dyn/core/schemas.h"
#include "dyn/perf/perf_model.h"

namespace dyn::cli {
namespace {

std::string title_of(const PoolSpec& pool, const std::string& step) {
  return enum_text(pool.role) + " pool, tp" + std::to_string(pool.layout.tensor) + ": " + step;
}

/// Sequences that one rank of the pool decodes at a time.
int decoding_at_once(const configurator::Candidate& winner,
                     const configurator::WorkloadSummary& load, const PoolSpec& pool) {
  const double ranks = static_cast<double>(pool.replicas) * pool.layout.data;
  const double seconds = winner.analytic.itl_mean * load.mean_output;
  const double open = winner.analytic.request_rate * seconds / ranks;
  const double all = load.concurrency > 0 ? load.concurrency / ranks : open;
  return std::clamp(static_cast<int>(std::lround(std::min(all, open))), 1,
                    pool.config.max_num_seqs);
}

}  // namespace

std::vector<profiler::ExplainedStep> explain_winner(const configurator::ExploreResult& result) {
  const configurator::Candidate& winner = result.ranked.front();
  const configurator::WorkloadSummary& load = result.workload;
  std::vector<profiler::ExplainedStep> steps;
  for (const PoolSpec& pool : winner.plan.pools) {
    const auto model =
        perf::PerfModel::compile(perf::target_of(winner.plan, pool), winner.plan.profile);
    if (pool.role != WorkerRole::decode) {
      const auto prompt = std::max<std::int64_t>(1, std::llround(load.mean_input));
      const std::int64_t tokens = std::min(prompt, pool.config.max_num_batched_tokens);
      perf::StepBatch batch;
      batch.add_prefill(tokens, prompt - tokens, true);
      steps.push_back(
          profiler::explain_step(*model, batch,
                                 title_of(pool, "prefill of " + std::to_string(tokens) + " of " +
                                                    std::to_string(prompt) + " prompt tokens")));
    }
    if (pool.role != WorkerRole::prefill) {
      const int sequences = decoding_at_once(winner, load, pool);
      const auto context =
          std::max<std::int64_t>(1, std::llround(load.mean_input + 0.5 * load.mean_output));
      perf::StepBatch batch;
      for (int i = 0; i < sequences; ++i) {
        batch.add_decode(context);
      }
      steps.push_back(profiler::explain_step(
          *model, batch,
          title_of(pool, "decode of " + std::to_string(sequences) + " sequences at " +
                             std::to_string(context) + " tokens")));
    }
  }
  return steps;
}

}  // namespace dyn::cli
