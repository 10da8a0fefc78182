#include <algorithm>
#include <cmath>
#include <vector>

#include "dyn/core/check.h"
#include "dyn/core/random.h"
#include "dyn/sim/workload.h"

namespace dyn::sim {
namespace {

// Chosen so that the trace resembles the figures of Mooncake's conversation trace (mean input
// 12,035 tokens, mean output 343, 37 % of prompt tokens reusable with an infinite cache).
constexpr double kFirstPromptMean = 10'300;  ///< tokens of a conversation's first message
constexpr double kFirstPromptSpread = 0.95;  ///< deviation / mean
constexpr double kNextPromptMean = 5'000;    ///< tokens that each later message adds
constexpr double kNextPromptSpread = 1.6;
constexpr double kOutputMean = 368;  ///< before long answers are cut
constexpr double kOutputSpread = 1.1;
constexpr double kContinues = 0.45;        ///< probability that another message follows
constexpr double kThinkMean = 75;          ///< seconds between messages
constexpr std::int64_t kLongest = 32'768;  ///< prompt and answer
constexpr std::int64_t kLongestOutput = 2'000;
constexpr std::int32_t kBlock = 512;

struct Turn {
  WorkloadRequest request;  ///< without blocks
  std::uint32_t session = 0;
};

struct Streams {
  explicit Streams(std::uint64_t seed)
      : start(seed, "session_start"),
        think(seed, "think_time"),
        turns(seed, "session_turns"),
        inputs(seed, "input_length"),
        outputs(seed, "output_length") {}
  RandomStream start, think, turns, inputs, outputs;
};

std::int64_t draw(RandomStream& stream, double mean, double spread, std::int64_t longest) {
  return std::clamp<std::int64_t>(std::llround(stream.lognormal(mean, mean * spread)), 1, longest);
}

/// Arrivals in whole milliseconds, as a trace has them.
SimTime at_seconds(double seconds) {
  return SimTime(std::chrono::milliseconds(std::llround(seconds * 1e3)));
}

/// Appends the turns of one conversation that begin within `span` seconds.
void add_session(std::uint32_t session, double span, Streams& streams, std::vector<Turn>& turns) {
  double now = streams.start.uniform() * span;
  std::int64_t context = 0;  ///< tokens of the turns before
  for (bool more = true; more && now < span; more = streams.turns.uniform() < kContinues) {
    const std::int64_t room = kLongest - context - 2;
    if (room < 1) {
      return;
    }
    const bool first = context == 0;
    Turn turn;
    turn.session = session;
    turn.request.arrival = at_seconds(now);
    turn.request.input_tokens =
        context + draw(streams.inputs, first ? kFirstPromptMean : kNextPromptMean,
                       first ? kFirstPromptSpread : kNextPromptSpread, room);
    turn.request.output_tokens =
        draw(streams.outputs, kOutputMean, kOutputSpread,
             std::min(kLongestOutput, kLongest - turn.request.input_tokens));
    context = turn.request.input_tokens + turn.request.output_tokens;
    turns.push_back(turn);
    now += streams.think.exponential(kThinkMean);
  }
}

/// The blocks of a conversation so far: a turn's full blocks begin the next turn's prompt, the
/// first block (the system prompt) is the same for all.
struct Session {
  std::vector<std::uint64_t> ids;
};

void add_blocks(Turn& turn, Session& session, std::uint64_t& next_id, Workload& out) {
  WorkloadRequest& request = turn.request;
  const auto full = static_cast<std::size_t>(request.input_tokens / kBlock);
  const auto count = static_cast<std::size_t>((request.input_tokens + kBlock - 1) / kBlock);
  while (session.ids.size() < full) {
    session.ids.push_back(session.ids.empty() ? 0 : next_id++);
  }
  request.first_block = static_cast<std::uint32_t>(out.blocks.size());
  request.block_count = static_cast<std::uint32_t>(count);
  kvbm::BlockHash hash = kvbm::chain_root("trace");
  for (std::size_t i = 0; i < count; ++i) {
    hash = kvbm::chain(hash, i < full ? session.ids[i] : next_id++);
    out.blocks.push_back(hash);
  }
}

}  // namespace

Workload make_conversation(std::int64_t requests, Duration span, std::uint64_t seed) {
  DYN_ASSERT(requests > 0 && span > Duration{0}, "a trace has requests and a span");
  Streams streams(seed);
  std::vector<Turn> turns;
  std::uint32_t sessions = 0;
  while (turns.size() < static_cast<std::size_t>(requests)) {
    add_session(sessions++, to_seconds(span), streams, turns);
  }
  turns.resize(static_cast<std::size_t>(requests));
  std::stable_sort(turns.begin(), turns.end(), [](const Turn& a, const Turn& b) {
    return a.request.arrival < b.request.arrival;
  });
  Workload out;
  out.block_tokens = kBlock;
  out.requests.reserve(turns.size());
  std::vector<Session> open(sessions);
  std::uint64_t next_id = 1;
  for (Turn& turn : turns) {
    add_blocks(turn, open[turn.session], next_id, out);
    out.requests.push_back(turn.request);
  }
  cut_prompts(out);
  return out;
}

}  // namespace dyn::sim
