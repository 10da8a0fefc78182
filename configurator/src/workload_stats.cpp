#include "workload_stats.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "dyn/kvbm/flat_map.h"
#include "dyn/perf/image_timer.h"

namespace dyn::configurator {
namespace {

/// Rank-based percentile; plenty for a score.
double percentile(std::vector<double> values, double p) {
  if (values.empty()) {
    return 0;
  }
  const auto index = static_cast<std::size_t>(p * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(index),
                   values.end());
  return values[index];
}

/// Tokens of the prompts that an unbounded cache would hold when the request arrives.
double reusable_tokens(const sim::Workload& workload) {
  kvbm::FlatMap<std::uint8_t> seen;  // segments, or blocks where prompts are not cut
  double reused = 0;
  for (const sim::WorkloadRequest& request : workload.requests) {
    std::int64_t hits = 0;
    bool prefix = true;
    const auto see = [&](kvbm::BlockHash hash, std::uint32_t blocks) {
      prefix = !seen.insert(static_cast<std::uint64_t>(hash), 0).second && prefix;
      hits += prefix ? blocks : 0;
    };
    std::uint32_t end = 0;
    for (std::uint32_t i = 0; i < request.segment_count; ++i) {
      const kvbm::PromptSegment& segment = workload.segments[request.first_segment + i];
      see(segment.id, segment.end - end);
      end = segment.end;
    }
    for (std::uint32_t i = end; i < request.block_count; ++i) {
      see(workload.blocks[request.first_block + i], 1);
    }
    // The last token is always computed: it yields the first output.
    reused += static_cast<double>(
        std::min<std::int64_t>(hits * workload.block_tokens, request.input_tokens - 1));
  }
  return reused;
}

/// How much busier than the mean the 95th-percentile window of arrivals is, by prompt tokens.
void find_peak(const sim::Workload& workload, WorkloadStats& stats) {
  stats.peak_window = std::max(10.0, stats.duration / 100.0);
  const auto windows =
      static_cast<std::size_t>(std::max(1.0, std::floor(stats.duration / stats.peak_window)));
  if (windows < 4) {
    return;
  }
  std::vector<double> tokens(windows, 0.0);
  const SimTime start = workload.requests.front().arrival;
  double total = 0;
  for (const sim::WorkloadRequest& request : workload.requests) {
    const auto slot =
        static_cast<std::size_t>(to_seconds(request.arrival - start) / stats.peak_window);
    if (slot < windows) {
      tokens[slot] += static_cast<double>(request.input_tokens);
      total += static_cast<double>(request.input_tokens);
    }
  }
  const double mean = total / static_cast<double>(windows);
  if (mean > 0) {
    stats.peak_factor = std::max(1.0, percentile(tokens, 0.95) / mean);
  }
}

}  // namespace

WorkloadStats workload_stats(const sim::Workload& workload) {
  WorkloadStats stats;
  WorkloadSummary& summary = stats.summary;
  summary.requests = static_cast<std::int64_t>(workload.requests.size());
  summary.concurrency = workload.concurrency;
  if (workload.requests.empty()) {
    return stats;
  }
  const auto n = static_cast<double>(workload.requests.size());
  std::vector<double> inputs;
  std::vector<double> outputs;
  inputs.reserve(workload.requests.size());
  outputs.reserve(workload.requests.size());
  double sum_in = 0;
  double sum_in_square = 0;
  double sum_out = 0;
  for (const sim::WorkloadRequest& request : workload.requests) {
    const auto in = static_cast<double>(request.input_tokens);
    const auto out = static_cast<double>(request.output_tokens);
    inputs.push_back(in);
    outputs.push_back(out);
    sum_in += in;
    sum_in_square += in * in;
    sum_out += out;
    summary.longest = std::max(summary.longest, request.input_tokens + request.output_tokens);
    stats.longest_prompt = std::max(stats.longest_prompt, request.input_tokens);
  }
  summary.mean_input = sum_in / n;
  summary.mean_output = sum_out / n;
  const double variance = sum_in_square / n - summary.mean_input * summary.mean_input;
  stats.input_scv = std::max(0.0, variance) / (summary.mean_input * summary.mean_input);
  stats.input_p99 = percentile(std::move(inputs), 0.99);
  stats.output_p99 = percentile(std::move(outputs), 0.99);
  perf::ImageBatch images;
  for (std::uint32_t i = 0; i < workload.requests.size(); ++i) {
    for (const policy::PromptImage& image : workload.images_of(i)) {
      images.add(image.size);
    }
  }
  if (!images.empty()) {
    stats.images_per_request = static_cast<double>(images.images) / n;
    stats.image = {images.patches / images.images, images.tokens / images.images};
  }
  const double reused = reusable_tokens(workload);
  summary.reuse = reused / sum_in;
  stats.unique_tokens = sum_in - reused;
  if (workload.concurrency == 0) {
    // Those that follow others come in no order.
    SimTime last = workload.requests.front().arrival;
    for (const sim::WorkloadRequest& request : workload.requests) {
      last = std::max(last, request.arrival);
    }
    const Duration span = last - workload.requests.front().arrival;
    stats.duration = std::max(1e-3, to_seconds(span));
    summary.request_rate = n / stats.duration;
    find_peak(workload, stats);
  }
  return stats;
}

}  // namespace dyn::configurator
