#include "score.h"

#include <algorithm>
#include <cmath>

#include "dyn/core/math.h"
#include "dyn/perf/sent_kv.h"

namespace dyn::configurator {
namespace {

std::int64_t whole(double value) {
  return static_cast<std::int64_t>(std::llround(value));
}

/// Share of the prompt tokens that are found in a cache of `tokens` tokens. Hits need few of the
/// distinct blocks: on Mooncake's conversation trace an LRU cache of 5 % of them gives 57 % of the
/// hits of an unbounded one (21.5 of 37.4 % of the tokens), which a power of 0.2 follows.
double reuse_at(const Problem& problem, const Shape& shape, int engines) {
  if (!shape.config.prefix_caching || problem.stats.unique_tokens <= 0) {
    return 0;
  }
  const bool aware = problem.recipe->router.kind == RouterKind::kv_aware;
  const double tokens = static_cast<double>(shape.kv_tokens()) * (aware ? engines : 1);
  const double share = std::min(1.0, tokens / problem.stats.unique_tokens);
  const double found = problem.stats.summary.reuse * portable_pow(share, 0.2);
  // Without a router that looks for it, the next request of a conversation seldom comes back.
  return aware ? found : found / engines;
}

/// One engine under a steady load of requests with mean lengths.
class EngineModel {
 public:
  EngineModel(const Problem& problem, const Space& space, const Shape& shape, int engines)
      : stats_(problem.stats), timer_(*space.layouts[shape.layout].model), config_(shape.config) {
    reuse_ = reuse_at(problem, shape, engines);
    if (const auto& images = space.layouts[shape.layout].images;
        images && stats_.images_per_request > 0 && shape.role != WorkerRole::decode) {
      perf::ImageBatch one;
      one.add(stats_.image);
      encode_ = stats_.images_per_request * to_seconds(images->time(one));
    }
    if (config_.speculation) {
      per_step_ = config_.speculation->acceptance_length.value_or(1);
    }
    input_ = stats_.summary.mean_input;
    output_ = std::max(1.0, stats_.summary.mean_output);
    computed_ = shape.role == WorkerRole::decode ? 0 : std::max(1.0, input_ * (1 - reuse_));
    const perf::CacheGroups groups = perf::cache_groups(
        problem.model, problem.kv_cache, space.layouts[shape.layout].layout.tensor, config_);
    const double recycled =
        static_cast<double>(groups.recycled_pages(whole(input_ + output_ / 2), config_.block_size) *
                            config_.block_size);
    const double held = groups.whole * (input_ * (1 - reuse_) + output_ / 2) + recycled;
    const double pools =
        static_cast<double>(groups.most_sequences(whole(input_ + output_), config_.block_size));
    const double fit =
        std::min(static_cast<double>(shape.kv_tokens()) / std::max(1.0, held), pools);
    const auto budget = static_cast<double>(config_.max_num_batched_tokens);
    max_batch_ = std::max(1.0, std::min({fit, double(config_.max_num_seqs), budget - 1}));
  }

  double max_batch() const { return max_batch_; }
  double budget_beside(double batch) const {
    return std::max(1.0, static_cast<double>(config_.max_num_batched_tokens) - batch);
  }
  double computed() const { return computed_; }
  double frontend() const { return to_seconds(timer_.frontend_time()); }

  /// Seconds of a step with `batch` decoding sequences and `chunk` prompt tokens.
  double step(double batch, double chunk) const {
    return to_seconds(timer_.step_time(make_step(batch, chunk)));
  }

  perf::StepBatch make_step(double batch, double chunk) const {
    perf::StepBatch step;
    if (chunk >= 1) {
      const double prompts = std::max(1.0, std::round(chunk / computed_));
      const double each = chunk / prompts;
      const double prior = input_ * reuse_ + std::max(0.0, computed_ - each) / 2;
      step.prefill_sequences = static_cast<std::int32_t>(prompts);
      step.prefill_tokens = whole(chunk);
      step.prefill_context = whole(prompts * prior);
      step.prefill_cross = whole(chunk * prior);
      step.prefill_square = whole(chunk * each);
      step.sampled = step.prefill_sequences;
    }
    if (batch >= 0.5 || chunk < 1) {
      step.decode_sequences = static_cast<std::int32_t>(std::max<std::int64_t>(1, whole(batch)));
      step.decode_context = whole(step.decode_sequences * (input_ + output_ / 2));
      step.sampled += step.decode_sequences;
    }
    return step;
  }

  /// Mean time between two tokens of a sequence when `batch` of them decode and prompts come in
  /// as fast as answers end: some steps hold a chunk of prompt, the others none.
  double token_time(double batch) const { return round_time(batch) / per_step_; }

  /// The same for the tokens that one step makes.
  double round_time(double batch) const {
    const double needed =
        batch * computed_ * per_step_ / output_;  // prompt tokens a step, on average
    if (needed <= 0) {
      return step(batch, 0);
    }
    return batch * per_step_ / output_ * encode_ + mixed_time(batch, needed);
  }

  /// The same without the images, with so many prompt tokens a step on average.
  double mixed_time(double batch, double needed) const {
    const double room = budget_beside(batch);
    const double chunk = std::min(computed_, room);
    if (needed <= chunk) {
      const double share = needed / chunk;
      return (1 - share) * step(batch, 0) + share * step(batch, chunk);
    }
    const double full = std::min(needed, room);
    return step(batch, full) * (needed / full);
  }

  /// Requests/s that leave when `batch` sequences decode.
  double rate(double batch) const { return batch / (output_ * token_time(batch)); }

  /// The batch at which `requests`/s leave; the largest one where that is too many.
  double batch_for(double requests) const {
    double low = 0;
    double high = max_batch_;
    if (rate(high) <= requests) {
      return high;
    }
    for (int i = 0; i < 12; ++i) {
      const double middle = (low + high) / 2;
      (rate(std::max(0.5, middle)) < requests ? low : high) = middle;
    }
    return high;
  }

  /// Time from the first chunk of a prompt with `tokens` to compute to its first token.
  double prompt_time(double tokens, double batch) const {
    const double room = budget_beside(batch);
    const double chunk = std::min(tokens, room);
    return encode_ + std::ceil(tokens / room) * step(batch, chunk);
  }

  /// Seconds of the engine that one more prompt costs when prompts are batched.
  double prompt_cost(double batch) const {
    const double room = budget_beside(batch);
    const double alone = prompt_time(computed_, batch);
    return std::min(alone, encode_ + computed_ / room * step(batch, room));
  }

 private:
  const WorkloadStats& stats_;
  const perf::PerfModel& timer_;
  const EngineConfig& config_;
  double reuse_ = 0;
  double input_ = 0;
  double output_ = 0;
  double computed_ = 0;  // prompt tokens that are computed, not found
  double max_batch_ = 1;
  double per_step_ = 1;  // tokens that a sequence makes in a step
  double encode_ = 0;    // seconds that the images of a prompt take
};

/// Adds queueing and prefill of an engine that gets `requests`/s.
void add_first_token(const WorkloadStats& stats, const EngineModel& engine, double requests,
                     PoolEstimate& pool) {
  const double cost = engine.prompt_cost(pool.batch);
  const double service = engine.prompt_time(engine.computed(), pool.batch);
  const double share = engine.computed() / std::max(1.0, stats.summary.mean_input);
  const double long_service =
      engine.prompt_time(std::max(1.0, stats.input_p99 * share), pool.batch);
  // M/G/1: rho / (1 - rho) * (1 + scv) / 2 * service; its tail falls exponentially.
  const auto wait = [&](double rho) { return rho / (1 - rho) * (1 + stats.input_scv) / 2 * cost; };
  const double rho = std::min(0.98, requests * cost);
  const double busy = std::min(0.98, requests * stats.peak_factor * cost);
  const double tail = busy > 0.01 ? wait(busy) / busy * portable_log(100 * busy) : 0;
  const double constant = engine.frontend() + pool.itl_mean / 2;
  pool.ttft_mean += constant + service + wait(rho);
  pool.ttft_p99 += constant + std::max(long_service + wait(busy), service + tail);
}

/// Adds what piles up while a pool, or the trace's busiest stretch, is overloaded.
void add_backlog(const WorkloadStats& stats, PoolEstimate& pool) {
  const double over = std::max(0.0, pool.utilisation - 1);
  const double over_peak = std::max(0.0, pool.utilisation * stats.peak_factor - 1);
  pool.ttft_mean += over * stats.duration / 2;
  pool.ttft_p99 += std::max(over * stats.duration, over_peak * stats.peak_window);
}

PoolEstimate solve_open(const WorkloadStats& stats, const Shape& shape, const EngineModel& engine,
                        int engines) {
  PoolEstimate pool;
  const double requests = stats.summary.request_rate / engines;
  const bool decodes = shape.role != WorkerRole::prefill;
  if (decodes) {
    pool.capacity = engine.rate(engine.max_batch()) * engines;
    pool.batch = engine.batch_for(requests);
    pool.itl_mean = engine.token_time(pool.batch);
    const double busy = engine.batch_for(requests * stats.peak_factor);
    const double most = std::min(engine.max_batch(), busy + 2.33 * std::sqrt(busy));
    pool.itl_p99 = std::max(pool.itl_mean, engine.token_time(most));
  } else {
    pool.capacity = engines / engine.prompt_cost(0);
  }
  pool.utilisation = stats.summary.request_rate / pool.capacity;
  if (shape.role == WorkerRole::decode) {
    pool.ttft_mean = 1.5 * pool.itl_mean;  // half a step to wait and one to make the token
    pool.ttft_p99 = 2 * pool.itl_p99;
  } else {
    pool.chunk = std::min(engine.computed(), engine.budget_beside(pool.batch));
    add_first_token(stats, engine, requests, pool);
  }
  add_backlog(stats, pool);
  return pool;
}

PoolEstimate solve_closed(const WorkloadStats& stats, const Shape& shape, const EngineModel& engine,
                          int engines) {
  PoolEstimate pool;
  pool.utilisation = 1;
  if (shape.role != WorkerRole::prefill) {
    const double slots = static_cast<double>(stats.summary.concurrency) / engines;
    pool.batch = std::max(1.0, std::min(engine.max_batch(), slots));
    pool.itl_mean = engine.token_time(pool.batch);
    pool.itl_p99 = 1.1 * pool.itl_mean;
    pool.capacity = engine.rate(pool.batch) * std::min<double>(engines, stats.summary.concurrency);
  }
  if (shape.role != WorkerRole::decode) {
    pool.chunk = std::min(engine.computed(), engine.budget_beside(pool.batch));
    pool.ttft_mean =
        engine.frontend() + pool.itl_mean / 2 + engine.prompt_time(engine.computed(), pool.batch);
    // All slots are released at once: the last waits for every prompt.
    const double burst =
        static_cast<double>(stats.summary.concurrency) / engines * engine.prompt_cost(pool.batch);
    pool.ttft_p99 = pool.ttft_mean + burst;
    if (shape.role == WorkerRole::prefill) {
      pool.capacity = engines / engine.prompt_cost(0);
    }
  } else {
    pool.ttft_mean = 1.5 * pool.itl_mean;
    pool.ttft_p99 = 2 * pool.itl_mean;
  }
  return pool;
}

}  // namespace

const PoolEstimate& Scorer::pool(std::uint32_t index, int replicas) {
  const auto [at, added] = pools_.try_emplace({index, replicas});
  if (added) {
    const Shape& shape = space_.shapes[index];
    const int engines = replicas * space_.layout(shape).data;
    const EngineModel engine(problem_, space_, shape, engines);
    at->second = problem_.stats.summary.concurrency > 0
                     ? solve_closed(problem_.stats, shape, engine, engines)
                     : solve_open(problem_.stats, shape, engine, engines);
  }
  return at->second;
}

perf::StepBatch Scorer::typical_step(std::uint32_t index, int replicas) {
  const PoolEstimate& estimate = pool(index, replicas);
  const Shape& shape = space_.shapes[index];
  const EngineModel engine(problem_, space_, shape, replicas * space_.layout(shape).data);
  return engine.make_step(estimate.batch, estimate.chunk);
}

double Scorer::transfer_time(const Topology& topology) const {
  const ParallelLayout& a = space_.layout(space_.shapes[topology.first]);
  const ParallelLayout& b = space_.layout(space_.shapes[topology.second]);
  const GpuSpec& device = problem_.profile.device;
  const bool one_node = space_.gpus(topology) <= device.gpus_per_node;
  const double links = std::min(a.tensor * a.pipeline, b.tensor * b.pipeline);
  const double rate = (one_node ? device.intra_node : device.inter_node).count() * links;
  const bool keeps = perf::keeps_windows(problem_.model, space_.shapes[topology.second].config);
  const double bytes = perf::sent_kv(problem_.model, problem_.kv_cache, 1, keeps)
                           .of_mean(problem_.stats.summary.mean_input);
  return rate > 0 ? bytes / rate : 0;
}

AnalyticScore Scorer::aggregated_closed(const PoolEstimate& pool) const {
  AnalyticScore score;
  const double slots = problem_.stats.summary.concurrency;
  score.request_rate = pool.capacity;
  score.utilisation = pool.utilisation;
  score.itl_mean = pool.itl_mean;
  score.itl_p99 = pool.itl_p99;
  // Little: slots that do not decode wait for their first token.
  const double decoding = pool.capacity * pool.itl_mean * problem_.stats.summary.mean_output;
  score.ttft_mean = std::max(pool.ttft_mean, (slots - decoding) / pool.capacity);
  score.ttft_p99 = std::max(pool.ttft_p99, score.ttft_mean);
  return score;
}

AnalyticScore Scorer::disaggregated_closed(const PoolEstimate& prefill, const PoolEstimate& decode,
                                           double transfer) const {
  AnalyticScore score;
  const double slots = problem_.stats.summary.concurrency;
  score.request_rate = std::min(prefill.capacity, decode.capacity);
  score.utilisation = 1;
  score.itl_mean = decode.itl_mean;
  score.itl_p99 = decode.itl_p99;
  const double decoding = score.request_rate * decode.itl_mean * problem_.stats.summary.mean_output;
  const double least = prefill.ttft_mean + transfer + decode.ttft_mean;
  score.ttft_mean = std::max(least, (slots - decoding) / score.request_rate);
  score.ttft_p99 = std::max(prefill.ttft_p99 + transfer + decode.ttft_p99, score.ttft_mean);
  return score;
}

AnalyticScore Scorer::score(const Topology& topology) {
  const PoolEstimate& first = pool(topology.first, topology.first_replicas);
  const bool closed = problem_.stats.summary.concurrency > 0;
  if (!topology.disaggregated()) {
    if (closed) {
      return aggregated_closed(first);
    }
    const double rate = std::min(problem_.stats.summary.request_rate, first.capacity);
    return {first.ttft_mean, first.ttft_p99, first.itl_mean,
            first.itl_p99,   rate,           first.utilisation};
  }
  const PoolEstimate& second = pool(topology.second, topology.second_replicas);
  const double transfer = transfer_time(topology);
  if (closed) {
    return disaggregated_closed(first, second, transfer);
  }
  AnalyticScore score;
  score.ttft_mean = first.ttft_mean + transfer + second.ttft_mean;
  score.ttft_p99 = first.ttft_p99 + transfer + second.ttft_p99;
  score.itl_mean = second.itl_mean;
  score.itl_p99 = second.itl_p99;
  score.request_rate =
      std::min({problem_.stats.summary.request_rate, first.capacity, second.capacity});
  score.utilisation = std::max(first.utilisation, second.utilisation);
  return score;
}

double quantile(double mean, double p99, const std::string& statistic) {
  // q(p) = start + scale * ln(1 / (1 - p)), with mean = start + scale, q(0.99) = p99.
  const double scale = std::max(0.0, p99 - mean) / (4.60517 - 1);
  const double start = mean - scale;
  if (statistic == "p50") {
    return start + 0.693147 * scale;
  }
  if (statistic == "p90") {
    return start + 2.302585 * scale;
  }
  if (statistic == "p95") {
    return start + 2.995732 * scale;
  }
  return statistic == "p99" ? p99 : mean;
}

double predicted(const AnalyticScore& score, const Slo::Target& target, double mean_output) {
  if (target.metric == "time_to_first_token") {
    return quantile(score.ttft_mean, score.ttft_p99, target.statistic);
  }
  if (target.metric == "inter_token_latency") {
    return quantile(score.itl_mean, score.itl_p99, target.statistic);
  }
  const double tokens = std::max(0.0, mean_output - 1);
  return quantile(score.ttft_mean + tokens * score.itl_mean,
                  score.ttft_p99 + tokens * score.itl_p99, target.statistic);
}

double worst_ratio(const AnalyticScore& score, const std::vector<Slo::Target>& targets,
                   double mean_output) {
  double worst = 0;
  for (const Slo::Target& target : targets) {
    worst = std::max(worst, predicted(score, target, mean_output) / to_seconds(target.limit));
  }
  return worst;
}

double objective_of(Objective objective, const AnalyticScore& score, int gpus, bool meets_slo,
                    double mean_output) {
  const double tokens = score.request_rate * mean_output;
  switch (objective) {
    case Objective::throughput_per_gpu:
      return tokens / gpus;
    case Objective::throughput:
      return tokens;
    case Objective::goodput_per_gpu:
      return (meets_slo ? score.request_rate : 0) / gpus;
    case Objective::ttft:
      return score.ttft_mean * 1e3;
    case Objective::itl:
      return score.itl_mean * 1e3;
    case Objective::e2e:
      return (score.ttft_mean + (mean_output - 1) * score.itl_mean) * 1e3;
    case Objective::gpus:
      return gpus;
  }
  return 0;
}

}  // namespace dyn::configurator
