#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dyn/core/quantity.h"
#include "dyn/core/recipe.h"
#include "dyn/kvbm/block_hash.h"
#include "dyn/policy/prompt_images.h"

namespace dyn::sim {

/// One request of a workload.
struct WorkloadRequest {
  SimTime arrival;  ///< open loop: not before then; ignored in a closed loop
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  std::uint32_t first_block = 0;    ///< into Workload::blocks
  std::uint32_t block_count = 0;    ///< hashes of the prompt, the partial last block included;
                                    ///< 0: it shares nothing with any other
  std::uint32_t first_segment = 0;  ///< into Workload::segments
  std::uint32_t segment_count = 0;  ///< 0: not cut; then no prompt of the workload is
};

/// A request that waits for another one to end: the next turn of a session, or a sub-agent.
struct FollowUp {
  std::uint32_t before = 0;
  std::uint32_t after = 0;  ///< > before
  Duration delay{0};        ///< think or tool time, from the end of `before`
};

/// Where the images of a prompt are.
struct RequestImages {
  std::uint32_t first = 0;  ///< into Workload::images
  std::uint32_t count = 0;
};

/// Requests of a kind, with targets of their own.
struct RequestClass {
  std::string name;
  int priority = 0;  ///< more is served first
  Slo slo;           ///< empty: the plan's
};

/// The requests of a run. Immutable once made; simulations on other threads share it. What only
/// some loads have is empty in others.
struct Workload {
  std::vector<WorkloadRequest> requests;  ///< those that follow no other: by arrival
  std::vector<kvbm::BlockHash> blocks;    ///< chained hashes, `block_tokens` tokens each
  /// The prompts cut where they part from one another, so that what they share is found without
  /// a look at each block. Ends count blocks of `block_tokens`.
  std::vector<kvbm::PromptSegment> segments;
  std::int32_t block_tokens = 512;  ///< a multiple of the engine's block size
  std::int32_t concurrency = 0;     ///< closed loop with so many slots; 0: open loop
  std::uint32_t warmup = 0;         ///< closed loop: the first so many do not count, and the
                                    ///< others come when they have ended

  std::vector<FollowUp> follow_ups;      ///< by `before`
  std::vector<std::uint32_t> sessions;   ///< by request: its session, from 0; empty: each its own
  std::vector<RequestClass> classes;     ///< empty: one
  std::vector<std::uint8_t> class_of;    ///< by request, into `classes`; empty: all the first
  std::vector<std::int32_t> priorities;  ///< by request; empty: those of the classes
  std::vector<std::uint32_t> adapters;   ///< by request: LoRA adapter, from 1; 0 or empty: none

  std::vector<policy::PromptImage> images;    ///< of prompts; those of one lie together
  std::vector<RequestImages> request_images;  ///< by request; empty: none has any

  /// Longest time without a request in flight: what is due later comes so much earlier.
  std::optional<Duration> max_idle;

  /// By request: how long after the send its client leaves; empty: all are patient.
  std::vector<Duration> patience;
  bool patient_once_served = false;  ///< who has its first token by then stays
  static constexpr Duration kPatient = Duration::max();

  std::uint32_t session_of(std::uint32_t request) const {
    return sessions.empty() ? request : sessions[request];
  }
  std::uint8_t class_number(std::uint32_t request) const {
    return class_of.empty() ? 0 : class_of[request];
  }
  std::uint32_t adapter_of(std::uint32_t request) const {
    return adapters.empty() ? 0 : adapters[request];
  }
  /// The images of a request's prompt.
  policy::PromptImages images_of(std::uint32_t request) const {
    return request_images.empty() ? policy::PromptImages{} : images_in(request_images[request]);
  }
  policy::PromptImages images_in(const RequestImages& of) const {
    return {images.data() + of.first, of.count};
  }
  int priority_of(std::uint32_t request) const {
    return !priorities.empty() ? priorities[request]
           : classes.empty()   ? 0
                               : classes[class_number(request)].priority;
  }

  /// The full engine blocks of a request's prompt. Asserts that `block_tokens` is a multiple of
  /// the engine's block size.
  kvbm::PromptBlocks prompt_blocks(const WorkloadRequest& request, int engine_block_size) const;
};

/// Cuts the prompts of a workload into segments: those on which its runs depend are the same, and
/// they are many times faster. O(blocks) memory accesses at most, mostly O(segments).
void cut_prompts(Workload& workload);

/// The first `count` requests of a closed loop and what they need, as a load of their own. Asserts
/// that there are so many, that the warm-up is among them, and that none follows another.
Workload first_requests(const Workload& workload, std::size_t count);

/// What requests may ask for by name.
struct ModelNames {
  std::vector<std::string> models;    ///< the model as it is
  std::vector<std::string> adapters;  ///< numbered from 1
};

/// What a trace is read for.
struct TraceOptions {
  Traffic traffic;
  /// None: which model a request asks for is not looked at.
  std::optional<ModelNames> names;
  const ModelSpec* model = nullptr;  ///< whose tokens images are; null: images are left out
  std::uint64_t seed = 1;
  int block_tokens = 64;  ///< of prompts that are given as text: the engine's block size
  /// Longest prompt and answer that the engines take; a request beyond is an error.
  std::optional<std::int64_t> max_context;
  int threads = 1;  ///< that may read it; what is read does not depend on them
};

/// Reads a trace of the form that `traffic.format` says, or that its content shows (TraceFormat
/// lists them). Arrivals that share a timestamp are spread over the gap to the next (at most the
/// trace's median gap) with seeded jitter if `traffic` says so; then `limit`, `speedup` and
/// `max_delay` apply; `rate` or `concurrency` stand in for the trace's times, and one of them must
/// where it has none. Some clients leave, if `cancellation` says so. A folder is read as sessions
/// of the form weka: its files .json and .jsonl, those in folders below included, by name. Throws
/// Error(bad_input) with file:line:column and field for every line (the first 20) that does not
/// parse, goes back in time, asks for more than `max_context` or for a model that nobody has, has
/// lengths below 1 or the wrong number of ids.
Workload load_trace(const std::string& path, const TraceOptions& options);
/// The same for a trace in memory; `name` stands for the file in errors.
Workload parse_trace(std::string_view text, const std::string& name, const TraceOptions& options);
Workload load_trace(const std::string& path, const Traffic& traffic, std::uint64_t seed);
Workload parse_trace(std::string_view text, const std::string& name, const Traffic& traffic,
                     std::uint64_t seed);

/// The files that a trace at `path` consists of: itself, or those of a folder that load_trace
/// reads, in order.
std::vector<std::string> trace_files(const std::string& path);

/// The form of a trace, by its first lines: never `detect`. Throws Error(bad_input) where it is
/// none that is known.
TraceFormat detect_format(std::string_view text, const std::string& name);

/// Writes requests in Mooncake's form, one JSON object a line, with block ids numbered by first
/// appearance. Asserts 512-token blocks and no follow-ups; arrivals of a closed loop are written
/// as they are (0).
std::string to_mooncake(const Workload& workload);

/// A synthetic load: an open loop whose rate may change over time, or a closed loop; lengths from
/// the distribution, whose mean they keep: uniform and truncated normal are symmetric about it,
/// and lognormal is not truncated. A prompt is at least one token longer than the shared prefix, of
/// which whole blocks of `engine_block_size` are shared. Requests of a session follow each other
/// in the list. Each class draws from streams of its own, so that one class does not change
/// another's lengths. Images are tokens of `model`. Sessions of different LoRA adapters share no
/// blocks. Empirical lengths are read from files beside `recipe_path`. Throws Error(bad_input)
/// where `traffic` asks for no synthetic load (isl and osl, and one of rate and concurrency) or for
/// a shared prefix that does not fit the prompt.
Workload make_synthetic(const Traffic& traffic, std::uint64_t seed, int engine_block_size = 16,
                        const std::string& recipe_path = {}, const ModelSpec* model = nullptr);

/// Whether any kind of requests of a synthetic load has images.
bool has_images(const Traffic& traffic);

/// A seeded trace in Mooncake's form with conversations that grow and share prefixes, for demos
/// and tests: `requests` of them over `span`. Its figures resemble those of Mooncake's public
/// conversation trace (mean input 12,035 and output 343 tokens, 37 % of prompt tokens reusable),
/// but no request is longer than 32,768 tokens, so that models of that context can run it.
Workload make_conversation(std::int64_t requests, Duration span, std::uint64_t seed);

/// The workload that a recipe's traffic asks for; paths are relative to `recipe_path`.
Workload make_workload(const Recipe& recipe, const std::string& recipe_path, int threads = 1);

}  // namespace dyn::sim
