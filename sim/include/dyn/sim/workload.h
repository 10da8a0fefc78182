#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
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
  std::uint32_t first_block = 0;    ///< into Workload::blocks
  std::uint32_t block_count = 0;    ///< hashes of the prompt, the partial last block included;
                                    ///< 0: it shares nothing with any other
  std::uint32_t first_segment = 0;  ///< into Workload::segments
  std::uint32_t segment_count = 0;  ///< 0: not cut; then no prompt of the workload is
};

/// The requests of a run. Immutable once made; simulations on other threads share it.
struct Workload {
  std::vector<WorkloadRequest> requests;  ///< open loop: by arrival
  std::vector<kvbm::BlockHash> blocks;    ///< chained hashes, `block_tokens` tokens each
  /// The prompts cut where they part from one another, so that what they share is found without
  /// a look at each block. Ends count blocks of `block_tokens`.
  std::vector<kvbm::PromptSegment> segments;
  std::int32_t block_tokens = 512;  ///< a multiple of the engine's block size
  std::int32_t concurrency = 0;     ///< closed loop with so many slots; 0: open loop

  /// The full engine blocks of a request's prompt. Asserts that `block_tokens` is a multiple of
  /// the engine's block size.
  kvbm::PromptBlocks prompt_blocks(const WorkloadRequest& request, int engine_block_size) const;
};

/// Cuts the prompts of a workload into segments: those on which its runs depend are the same, and
/// they are many times faster. O(blocks) memory accesses at most, mostly O(segments).
void cut_prompts(Workload& workload);

/// Reads a Mooncake JSONL trace: timestamp (ms, fractions allowed), input_length, output_length,
/// hash_ids (one a 512-token block, the partial last one included; [] if the prompt shares
/// nothing). Other fields, such as session_id and delay, are ignored: the timestamps say when each
/// request comes. Arrivals that share a timestamp are spread over the gap to the next (at most
/// the trace's median gap) with seeded jitter if `traffic` says so; then `limit` and `speedup`
/// apply. Throws Error(bad_input) with file:line:column and field for every line (the first 20)
/// that does not parse, goes back in time, has lengths below 1 or the wrong number of ids.
Workload load_trace(const std::string& path, const Traffic& traffic, std::uint64_t seed);
/// The same for a trace in memory; `name` stands for the file in errors.
Workload parse_trace(std::string_view text, const std::string& name, const Traffic& traffic,
                     std::uint64_t seed);

/// Writes requests in Mooncake's form, one JSON object a line, with block ids numbered by first
/// appearance. Asserts 512-token blocks; arrivals of a closed loop are written as they are (0).
std::string to_mooncake(const Workload& workload);

/// A synthetic load: Poisson arrivals or a closed loop, lengths from the distribution, whose mean
/// they keep: uniform and truncated normal are symmetric about it, and lognormal is not
/// truncated. A prompt is at least one token longer than the shared prefix, of which whole blocks
/// of `engine_block_size` are shared. Throws Error(bad_input) where `traffic` asks for no
/// synthetic load (isl and osl, and one of rate and concurrency) or for a shared prefix that does
/// not fit the prompt.
Workload make_synthetic(const Traffic& traffic, std::uint64_t seed, int engine_block_size = 16);

/// A seeded trace in Mooncake's form with conversations that grow and share prefixes, for demos
/// and tests: `requests` of them over `span`. Its figures resemble those of Mooncake's public
/// conversation trace (mean input 12,035 and output 343 tokens, 37 % of prompt tokens reusable),
/// but no request is longer than 32,768 tokens, so that models of that context can run it.
Workload make_conversation(std::int64_t requests, Duration span, std::uint64_t seed);

/// The workload that a recipe's traffic asks for; paths are relative to `recipe_path`.
Workload make_workload(const Recipe& recipe, const std::string& recipe_path);

}  // namespace dyn::sim
