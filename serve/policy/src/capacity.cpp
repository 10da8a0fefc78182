#include "dyn/policy/capacity.h"

#include <algorithm>
#include <cmath>

#include "dyn/core/check.h"

namespace dyn::policy {
namespace {

/// Seconds of the steps that compute one prompt.
double prompt_time(const CapacityQuestion& ask) {
  const auto tokens = std::max<std::int64_t>(std::llround(ask.computed_tokens), 1);
  const std::int64_t cached = std::max<std::int64_t>(std::llround(ask.prompt_tokens) - tokens, 0);
  double seconds = 0;
  for (std::int64_t done = 0; done < tokens; done += ask.step_tokens) {
    perf::StepBatch batch;
    batch.add_prefill(std::min(ask.step_tokens, tokens - done), cached + done, true);
    seconds += to_seconds(ask.timer->step_time(batch));
  }
  return seconds;
}

double decode_time(const CapacityQuestion& ask, std::int64_t sequences) {
  perf::StepBatch batch;
  batch.decode_sequences = static_cast<std::int32_t>(sequences);
  batch.sampled = batch.decode_sequences;
  batch.decode_context =
      sequences *
      std::max<std::int64_t>(std::llround(ask.prompt_tokens + ask.output_tokens / 2), 1);
  return to_seconds(ask.timer->step_time(batch));
}

}  // namespace

double request_capacity(const CapacityQuestion& ask) {
  DYN_ASSERT(ask.timer != nullptr && ask.step_tokens > 0, "capacity of an unknown worker");
  const double prompt = prompt_time(ask);
  if (ask.role == WorkerRole::prefill) {
    return 1 / prompt;
  }
  const double output = std::max(ask.output_tokens, 1.0);
  const double between = ask.role == WorkerRole::aggregated ? prompt : 0;
  const double tokens = std::max(ask.prompt_tokens + output, 1.0);
  const double request =
      ask.groups.whole * tokens +
      static_cast<double>(ask.groups.recycled_pages(std::llround(tokens), ask.block_size) *
                          ask.block_size);
  const auto fits = static_cast<std::int64_t>(static_cast<double>(ask.kv_tokens) / request);
  const std::int64_t pools = ask.groups.most_sequences(std::llround(tokens), ask.block_size);
  std::int64_t most = std::clamp<std::int64_t>(std::min(fits, pools), 1, ask.max_num_seqs);
  const auto keeps = [&](std::int64_t n) {
    return decode_time(ask, n) + static_cast<double>(n) * between / output <= to_seconds(ask.itl);
  };
  std::int64_t least = 1;
  while (least < most) {  // the last that keeps it
    const std::int64_t middle = (least + most + 1) / 2;
    if (keeps(middle)) {
      least = middle;
    } else {
      most = middle - 1;
    }
  }
  const auto n = static_cast<double>(least);
  return n / (output * decode_time(ask, least) + n * between);
}

}  // namespace dyn::policy
