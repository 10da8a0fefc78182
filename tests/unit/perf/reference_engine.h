#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dyn/perf/step_timer.h"

namespace dyn::perf::test {

/// A request of a recorded run.
struct RecordedRequest {
  double arrival_s = 0;
  std::int64_t prompt = 0;
  std::int64_t output = 0;
  std::vector<std::int64_t> blocks;  ///< ids of the full prompt blocks, 16 tokens each
  double ttft_s = 0;                 ///< measured
  double tpot_s = 0;
  double e2e_s = 0;
};

/// Reads the JSON Lines of a recorded vLLM run.
std::vector<RecordedRequest> read_recorded_run(const std::string& path);

struct EngineLimits {
  std::int64_t blocks = 0;
  std::int64_t max_sequences = 256;
  std::int64_t max_batched_tokens = 2048;
  std::int64_t block_size = 16;
};

struct Replayed {
  double ttft_s = 0;  ///< means over requests
  double tpot_s = 0;
  double e2e_s = 0;
  std::int64_t steps = 0;
  std::int64_t preemptions = 0;
  double hit_rate = 0;
};

/// Replays a run step by step as vLLM V1 schedules: running requests first, tail preempted where
/// blocks run out, then waiting ones while the whole prompt fits, chunked by the token budget;
/// prefix cache of full blocks with LRU. Written to be obviously right, not fast.
Replayed replay(const std::vector<RecordedRequest>& requests, const EngineLimits& limits,
                const StepTimer& timer);

/// Means of what was measured.
Replayed measured(const std::vector<RecordedRequest>& requests);

}  // namespace dyn::perf::test
