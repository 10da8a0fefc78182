#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dyn/core/quantity.h"
#include "dyn/core/recipe.h"
#include "dyn/kvbm/block_hash.h"

namespace dyn::sim {

/// One request of a workload.
struct WorkloadRequest {
  SimTime arrival;  ///< open loop; ignored in a closed loop
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  std::uint32_t first_block = 0;  ///< into Workload::blocks
  std::uint32_t block_count = 0;  ///< hashes of the prompt, the partial last block included
};

/// The requests of a run. Immutable once made; simulations on other threads share it.
struct Workload {
  std::vector<WorkloadRequest> requests;  ///< open loop: by arrival
  std::vector<kvbm::BlockHash> blocks;    ///< chained hashes, `block_tokens` tokens each
  std::int32_t block_tokens = 512;        ///< a multiple of the engine's block size
  std::int32_t concurrency = 0;           ///< closed loop with so many slots; 0: open loop

  /// The full engine blocks of a request's prompt.
  kvbm::PromptBlocks prompt_blocks(const WorkloadRequest& request, int engine_block_size) const;
};

/// Reads a Mooncake JSONL trace: timestamp (ms), input_length, output_length, hash_ids. Arrivals
/// that share a timestamp are spread over the gap to the next with seeded jitter if `traffic`
/// says so. Throws Error(bad_input) with file:line and field for a line that does not parse, goes
/// back in time, or has lengths below 1.
Workload load_trace(const std::string& path, const Traffic& traffic, std::uint64_t seed);

/// Writes requests in Mooncake's form, one JSON object a line.
std::string to_mooncake(const Workload& workload);

/// A synthetic load: Poisson arrivals or a closed loop, lengths from the distribution.
Workload make_synthetic(const Traffic& traffic, std::uint64_t seed);

/// A seeded trace in Mooncake's form with conversations that grow and share prefixes, for demos
/// and tests: `requests` of them over `span`.
Workload make_conversation(std::int64_t requests, Duration span, std::uint64_t seed);

/// The workload that a recipe's traffic asks for; paths are relative to `recipe_path`.
Workload make_workload(const Recipe& recipe, const std::string& recipe_path);

}  // namespace dyn::sim
