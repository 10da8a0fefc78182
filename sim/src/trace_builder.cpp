#include "trace_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "arrivals.h"
#include "dyn/core/check.h"
#include "dyn/core/model_spec.h"
#include "patience.h"
#include "session_start.h"
#include "spread.h"

namespace dyn::sim {
namespace {

constexpr std::size_t kMost = std::numeric_limits<std::uint32_t>::max() - 1;

constexpr SimTime kLatest{
    std::chrono::seconds(static_cast<std::int64_t>(kMaxTraceSeconds))};  ///< arrival

/// Whether a request follows another one.
std::vector<bool> followers(const Workload& workload) {
  std::vector<bool> out(workload.requests.size(), false);
  for (const FollowUp& follow : workload.follow_ups) {
    out[follow.after] = true;
  }
  return out;
}

/// Applies `change` to the requests that follow no other, in order.
template <class Change>
void change_roots(Workload& workload, Change change) {
  if (workload.follow_ups.empty()) {
    change(workload.requests);
    return;
  }
  const std::vector<bool> follows = followers(workload);
  std::vector<WorkloadRequest> roots;
  for (std::size_t i = 0; i < follows.size(); ++i) {
    if (!follows[i]) {
      roots.push_back(workload.requests[i]);
    }
  }
  change(roots);
  auto root = roots.begin();
  for (std::size_t i = 0; i < follows.size(); ++i) {
    if (!follows[i]) {
      workload.requests[i] = *root++;
    }
  }
}

void cut(std::size_t limit, Workload& workload) {
  if (limit >= workload.requests.size()) {
    return;
  }
  workload.requests.resize(limit);
  std::erase_if(workload.follow_ups,
                [limit](const FollowUp& follow) { return follow.after >= limit; });
  workload.sessions.resize(std::min(workload.sessions.size(), limit));
  workload.priorities.resize(std::min(workload.priorities.size(), limit));
  workload.adapters.resize(std::min(workload.adapters.size(), limit));
  workload.request_images.resize(std::min(workload.request_images.size(), limit));
}

Duration scaled(Duration duration, double speedup) {
  return Duration(std::llround(static_cast<double>(duration.count()) / speedup));
}

void speed_up(double speedup, Workload& workload) {
  DYN_ASSERT(speedup > 0, "a speed-up is positive");
  for (WorkloadRequest& request : workload.requests) {
    request.arrival = SimTime(scaled(request.arrival.time_since_epoch(), speedup));
  }
  for (FollowUp& follow : workload.follow_ups) {
    follow.delay = scaled(follow.delay, speedup);
  }
}

/// A request that follows others does not come before they could have ended, so that its arrival
/// tells roughly when it will.
void push_followers(Workload& workload) {
  for (const FollowUp& follow : workload.follow_ups) {
    SimTime& arrival = workload.requests[follow.after].arrival;
    const SimTime before = std::min(workload.requests[follow.before].arrival, kLatest);
    arrival = std::max(arrival, before + follow.delay);
  }
}

}  // namespace

TraceBuilder::TraceBuilder(TraceText& text, const TraceOptions& options, std::int32_t block_tokens)
    : text_(text), options_(options) {
  out_.block_tokens = block_tokens;
}

bool TraceBuilder::check_tokens(std::int64_t tokens, const char* at, std::string path) {
  if (tokens < 1 || tokens > kMaxTraceTokens) {
    text_.complain(at, std::move(path),
                   fmt::format("expected 1 to {} tokens, got {}", kMaxTraceTokens, tokens));
    return false;
  }
  return true;
}

bool TraceBuilder::find_adapter(const std::string& name, const char* at, const std::string& path,
                                std::uint32_t& adapter) {
  adapter = 0;
  if (!options_.names) {
    return true;
  }
  const std::vector<std::string>& adapters = options_.names->adapters;
  const auto found = std::find(adapters.begin(), adapters.end(), name);
  if (found != adapters.end()) {
    adapter = static_cast<std::uint32_t>(found - adapters.begin()) + 1;
    return true;
  }
  const std::vector<std::string>& models = options_.names->models;
  if (std::find(models.begin(), models.end(), name) != models.end()) {
    return true;
  }
  std::vector<std::string> known = models;
  known.insert(known.end(), adapters.begin(), adapters.end());
  const std::optional<std::string> near = nearest(name, known);
  text_.complain(
      at, path, fmt::format("neither the model nor an adapter: '{}'", name),
      near ? fmt::format("did you mean '{}'?", *near) : "engine.lora.names lists the adapters");
  return false;
}

bool TraceBuilder::size_image(const Picture& picture, const char* at, const std::string& path,
                              ImageSize& size) {
  if (picture.problem != nullptr) {
    text_.complain(at, path, picture.problem);
    return false;
  }
  ImageMix mix = options_.traffic.images.value_or(ImageMix{});
  if (!options_.model->vision && !mix.tokens) {
    text_.complain(at, path,
                   fmt::format("no vision encoder of '{}' is known", options_.model->name),
                   "give traffic.images.tokens and timing.image_time, or a model that has one");
    return false;
  }
  if (picture.width > 0) {
    mix.width = picture.width;
    mix.height = picture.height;
  }
  size = image_size(mix, *options_.model);
  return true;
}

bool TraceBuilder::fits(const TraceRequest& request) {
  const std::int64_t tokens = request.input_tokens + request.output_tokens;
  if (options_.max_context && tokens > *options_.max_context) {
    text_.complain(request.at, request.path,
                   fmt::format("{} prompt and {} output tokens exceed the context of {}",
                               request.input_tokens, request.output_tokens, *options_.max_context),
                   "raise engine.max_model_len, or leave the request out");
    return false;
  }
  return true;
}

std::uint32_t TraceBuilder::push(const TraceRequest& request,
                                 std::span<const kvbm::BlockHash> blocks, std::uint32_t session) {
  if (!fits(request)) {
    return kNone;
  }
  if (out_.requests.size() >= kMost || out_.blocks.size() + blocks.size() > kMost ||
      out_.images.size() + request.images.size() > kMost) {
    text_.complain(request.at, request.path, "the trace is too large");
    return kNone;
  }
  WorkloadRequest made;
  made.arrival = request.arrival;
  made.input_tokens = request.input_tokens;
  made.output_tokens = request.output_tokens;
  made.first_block = static_cast<std::uint32_t>(out_.blocks.size());
  made.block_count = static_cast<std::uint32_t>(blocks.size());
  out_.blocks.insert(out_.blocks.end(), blocks.begin(), blocks.end());
  out_.requests.push_back(made);
  out_.sessions.push_back(session);
  if (request.adapter > 0) {
    use_adapter(request.adapter);
  }
  if (!request.images.empty()) {
    out_.request_images.resize(out_.requests.size());
    out_.request_images.back() = {static_cast<std::uint32_t>(out_.images.size()),
                                  static_cast<std::uint32_t>(request.images.size())};
    out_.images.insert(out_.images.end(), request.images.begin(), request.images.end());
  }
  return static_cast<std::uint32_t>(out_.requests.size() - 1);
}

/// The last request's; what it has cached is of use to no request without it.
void TraceBuilder::use_adapter(std::uint32_t adapter) {
  out_.adapters.resize(out_.requests.size(), 0);
  out_.adapters.back() = adapter;
  const kvbm::BlockHash salt = kvbm::chain(kvbm::chain_root("adapter"), adapter);
  for (std::size_t i = out_.requests.back().first_block; i < out_.blocks.size(); ++i) {
    out_.blocks[i] = kvbm::chain(salt, static_cast<std::uint64_t>(out_.blocks[i]));
  }
}

std::uint32_t TraceBuilder::add(const TraceRequest& request,
                                std::span<const kvbm::BlockHash> blocks, std::uint32_t session) {
  if (request.arrival < last_arrival_) {
    text_.complain(request.arrival_at, request.arrival_path, "goes back in time",
                   "sort the requests by arrival");
    return kNone;
  }
  if (request.arrival > kLatest) {
    text_.complain(request.arrival_at, request.arrival_path,
                   "comes more than three years after the start");
    return kNone;
  }
  last_arrival_ = request.arrival;
  return push(request, blocks, session);
}

std::uint32_t TraceBuilder::add_after(std::uint32_t before, Duration delay,
                                      const TraceRequest& request,
                                      std::span<const kvbm::BlockHash> blocks,
                                      std::uint32_t session) {
  const std::uint32_t made = push(request, blocks, session);
  if (made != kNone) {
    also_after(before, delay, made);
  }
  return made;
}

void TraceBuilder::also_after(std::uint32_t before, Duration delay, std::uint32_t after) {
  if (options_.traffic.max_delay) {
    delay = std::min(delay, *options_.traffic.max_delay);
  }
  out_.follow_ups.push_back({before, after, delay});
}

void TraceBuilder::set_priority(std::uint32_t request, int priority) {
  out_.priorities.resize(out_.requests.size(), 0);
  out_.priorities[request] = priority;
}

Workload TraceBuilder::finish() {
  if (text_.errors() == 0 && out_.requests.empty()) {
    text_.complain(nullptr, {}, "the trace holds no requests");
  }
  text_.throw_if_any();
  std::stable_sort(out_.follow_ups.begin(), out_.follow_ups.end(),
                   [](const FollowUp& a, const FollowUp& b) { return a.before < b.before; });
  if (out_.follow_ups.empty()) {
    out_.sessions.clear();  // each request is its own
  } else {
    number_sessions(out_.sessions);
  }
  if (!out_.priorities.empty()) {
    out_.priorities.resize(out_.requests.size(), 0);
  }
  if (!out_.adapters.empty()) {
    out_.adapters.resize(out_.requests.size(), 0);
  }
  if (!out_.request_images.empty()) {
    out_.request_images.resize(out_.requests.size());
  }
  shape_trace(options_, text_.name(), has_times_, out_);
  return std::move(out_);
}

void shape_trace(const TraceOptions& options, const std::string& name, bool has_times,
                 Workload& workload) {
  const Traffic& traffic = options.traffic;
  if (!has_times && !traffic.rate && !traffic.concurrency) {
    throw Error(ErrorKind::bad_input, {{"the trace does not say when its requests come",
                                        Where{name, 0, 0, {}},
                                        "give traffic.rate or traffic.concurrency",
                                        {}}});
  }
  if (traffic.sessions_to > 0) {
    begin_under_way(traffic.sessions_from, traffic.sessions_to, options.seed, workload);
  }
  const bool own_times = !traffic.rate && !traffic.concurrency;
  if (own_times && traffic.spread_ticks) {
    change_roots(workload,
                 [&](std::vector<WorkloadRequest>& roots) { spread_ticks(roots, options.seed); });
  }
  if (traffic.limit) {
    cut(static_cast<std::size_t>(std::max<std::int64_t>(*traffic.limit, 1)), workload);
  }
  if (own_times) {
    if (traffic.speedup != 1.0) {
      speed_up(traffic.speedup, workload);
    }
  } else {
    for (WorkloadRequest& request : workload.requests) {
      request.arrival = SimTime{};
    }
    if (traffic.rate) {
      Arrivals arrivals(traffic, options.seed);
      change_roots(workload, [&](std::vector<WorkloadRequest>& roots) {
        for (WorkloadRequest& request : roots) {
          request.arrival = arrivals.next();
        }
      });
    }
    workload.concurrency = traffic.concurrency.value_or(0);
  }
  workload.max_idle = traffic.max_idle;
  push_followers(workload);
  cut_prompts(workload);
  draw_patience(traffic.cancellation, options.seed, workload);
}

}  // namespace dyn::sim
