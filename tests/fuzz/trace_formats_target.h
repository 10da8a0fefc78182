#pragma once

#include <string_view>

#include "dyn/core/check.h"
#include "dyn/core/error.h"
#include "dyn/core/model_spec.h"
#include "dyn/sim/workload.h"

namespace dyn::fuzz {

constexpr unsigned char kTraceFormats = 9;  ///< values of TraceFormat

/// Whatever a trace says, what was made of it can be run.
inline void check_workload(const sim::Workload& workload, std::int64_t max_context) {
  DYN_ASSERT(!workload.requests.empty(), "a trace has requests");
  const auto count = static_cast<std::uint32_t>(workload.requests.size());
  std::vector<bool> follows(count, false);
  std::uint32_t last = 0;
  for (const sim::FollowUp& follow : workload.follow_ups) {
    DYN_ASSERT(follow.before >= last && follow.after > follow.before && follow.after < count,
               "follow-ups are in order and lead forward");
    DYN_ASSERT(follow.delay >= Duration{0}, "a delay is no less than 0");
    last = follow.before;
    follows[follow.after] = true;
  }
  SimTime arrival{};
  for (std::uint32_t i = 0; i < count; ++i) {
    const sim::WorkloadRequest& request = workload.requests[i];
    DYN_ASSERT(request.input_tokens >= 1 && request.output_tokens >= 1, "lengths are at least 1");
    DYN_ASSERT(request.input_tokens + request.output_tokens <= max_context,
               "requests fit the context");
    DYN_ASSERT(workload.session_of(i) < count, "sessions are numbered from 0");
    DYN_ASSERT(request.arrival >= SimTime{}, "nothing arrives before the start");
    if (!follows[i]) {
      DYN_ASSERT(request.arrival >= arrival, "first requests come in order");
      arrival = request.arrival;
    }
    workload.prompt_blocks(request, 1);
    DYN_ASSERT(workload.adapter_of(i) <= 1, "adapters are those that there are");
    std::int64_t end = 0;
    for (const policy::PromptImage& image : workload.images_of(i)) {
      DYN_ASSERT(image.start >= end && image.size.tokens >= 1, "images lie one after the other");
      end = image.end();
    }
    DYN_ASSERT(end <= request.input_tokens, "images are part of the prompt");
  }
}

/// The reader that the first byte of the input, which is not empty, chooses.
inline int chosen_reader(std::string_view data) {
  return static_cast<unsigned char>(data.front()) % kTraceFormats;
}

/// Gives all but the first byte to a reader; the first says how it is to be read.
inline void try_reader(std::string_view data, int reader) {
  sim::TraceOptions options;
  const auto choice = static_cast<unsigned char>(data.front());
  options.traffic.format = static_cast<TraceFormat>(reader);
  if ((choice / kTraceFormats) % 2 == 1) {
    options.traffic.concurrency = 4;
  }
  if ((choice / (2 * kTraceFormats)) % 2 == 1) {
    options.traffic.sessions_from = 0.25;
    options.traffic.sessions_to = 0.75;
  }
  options.traffic.max_delay = std::chrono::hours(1);
  ModelSpec model;
  model.vision.emplace();
  options.model = &model;
  if ((choice / (4 * kTraceFormats)) % 2 == 1) {
    options.names = sim::ModelNames{{"base"}, {"adapter"}};
  }
  options.max_context = 1'000'000;
  options.block_tokens = 16;
  try {
    check_workload(sim::parse_trace(data.substr(1), "fuzz", options), *options.max_context);
  } catch (const Error& error) {
    DYN_ASSERT(error.kind() == ErrorKind::bad_input, "a bad trace is bad input");
    DYN_ASSERT(!error.items().empty() && error.items()[0].where, "an error says where");
  }
}

/// The same, with the reader that the first byte chooses. Nothing is read of nothing.
inline void try_trace(std::string_view data) {
  if (!data.empty()) {
    try_reader(data, chosen_reader(data));
  }
}

}  // namespace dyn::fuzz
