#include <array>
#include <span>
#include <string_view>

#include "dyn/core/document.h"
#include "dyn/core/schemas.h"
#include "inherited.h"

namespace dyn {
namespace {

constexpr std::int64_t kMostTokens = 100'000'000;

constexpr const char* kShapeKeys[] = {
    "isl",           "osl",           "lengths", "length_spread", "lengths_from",
    "shared_prefix", "prefix_groups", "turns",   "turn_count",    "turn_isl",
    "think_time",    "think_cv",      "images"};

void check_lengths(const LoadShape& shape, Checker& checker) {
  const bool empirical = shape.lengths == LengthDistribution::empirical;
  if (empirical != shape.lengths_from.has_value()) {
    checker.error(empirical ? "lengths" : "lengths_from",
                  "'lengths: empirical' and 'lengths_from' need each other",
                  "such as lengths: empirical, lengths_from: conversation.jsonl");
  }
  for (const char* key : {"isl", "osl"}) {
    if (checker.has(key) && empirical) {
      checker.error(key, std::string("'") + key + "' has no effect on empirical lengths",
                    "both lengths come from lengths_from");
    } else if (!checker.has(key) && !empirical) {
      checker.error(key, std::string("missing key '") + key + "'",
                    "a synthetic load needs isl and osl, such as 4000 and 500");
    }
  }
  const bool has_spread = shape.lengths != LengthDistribution::fixed && !empirical;
  if (!has_spread && shape.length_spread > 0) {
    checker.error("length_spread",
                  empirical ? "'length_spread' has no effect on empirical lengths"
                            : "'length_spread' has no effect on fixed lengths",
                  "choose lengths: uniform, normal, lognormal or at_most");
  }
  if (has_spread && shape.length_spread == 0) {
    checker.error("lengths", "lengths that are not fixed need 'length_spread'",
                  "such as length_spread: 0.5");
  }
  if (shape.length_spread > 1 && (shape.lengths == LengthDistribution::uniform ||
                                  shape.lengths == LengthDistribution::at_most)) {
    checker.error("length_spread",
                  shape.lengths == LengthDistribution::uniform
                      ? "uniform lengths have a half-width of at most 1 times the mean"
                      : "at_most lengths vary by at most 1 times the longest");
  }
  if (shape.isl && shape.shared_prefix > *shape.isl) {
    checker.error("shared_prefix", "the shared prefix is longer than the prompt (isl)");
  }
}

void check_turns(const LoadShape& shape, Checker& checker) {
  for (const char* key : {"turn_count", "turn_isl", "think_time", "think_cv"}) {
    if (checker.has(key) && shape.turns == 1) {
      checker.error(key, std::string("'") + key + "' has no effect on sessions of one turn",
                    "such as turns: 4");
    }
  }
  if (shape.turns > 1 && shape.lengths == LengthDistribution::empirical && !shape.turn_isl) {
    checker.error("turn_isl", "missing key 'turn_isl'",
                  "with empirical lengths it says what later turns add");
  }
}

void check_shape(const LoadShape& shape, Checker& checker) {
  check_lengths(shape, checker);
  check_turns(shape, checker);
}

/// Whose keys do nothing beside `given`.
void refuse(std::span<const char* const> keys, const std::string& belongs, const std::string& given,
            Checker& checker) {
  for (const char* key : keys) {
    if (checker.has(key)) {
      checker.error(key, std::string("'") + key + "' belongs to " + belongs + ", but " + given,
                    std::string_view(key) == "requests" ? "'limit' shortens a trace"
                    : std::string_view(key) == "limit"  ? "'requests' is how many are sent"
                    : given == "none is given"          ? "give 'trace' too"
                                                        : "give one or the other");
    }
  }
}

void check_arrivals(const Traffic& traffic, Checker& checker) {
  if (traffic.rate && traffic.concurrency) {
    checker.error("concurrency", "'rate' and 'concurrency' exclude each other",
                  "an open loop has a rate, a closed one a concurrency");
  }
  for (const char* key : {"arrivals", "arrival_cv", "profile", "period", "peak", "peak_share"}) {
    if (checker.has(key) && !traffic.rate) {
      checker.error(key, std::string("'") + key + "' belongs to an open loop with a 'rate'",
                    "such as rate: 8 req/s");
      return;
    }
  }
  if (checker.has("arrival_cv") && traffic.arrivals != ArrivalProcess::gamma) {
    checker.error("arrival_cv", "'arrival_cv' has no effect unless arrivals are gamma",
                  "choose arrivals: gamma");
  }
  const bool steady = traffic.profile == RateProfile::steady;
  for (const char* key : {"period", "peak"}) {
    if (checker.has(key) && steady) {
      checker.error(key, std::string("'") + key + "' has no effect on a steady rate",
                    "choose profile: bursts, diurnal or ramp");
    }
  }
  if (checker.has("peak_share") && traffic.profile != RateProfile::bursts) {
    checker.error("peak_share", "'peak_share' belongs to profile: bursts");
  }
  if (traffic.profile == RateProfile::bursts && traffic.peak * traffic.peak_share > 1) {
    checker.error("peak_share", "the peaks alone would exceed the mean rate",
                  "peak * peak_share is at most 1");
  }
  if (traffic.profile == RateProfile::diurnal && traffic.peak > 2) {
    checker.error("peak", "a diurnal rate peaks at 2 times its mean at most",
                  "the trough mirrors the peak, and no rate is below 0");
  }
}

void check_trace(const Traffic& traffic, Checker& checker) {
  for (const char* key : kShapeKeys) {
    if (std::string_view(key) != "osl" && std::string_view(key) != "images") {
      refuse(std::array{key}, "a synthetic load", "'trace' is given", checker);
    }
  }
  refuse(std::array{"requests", "requests_per_slot", "warmup_per_slot", "classes", "adapters"},
         "a synthetic load", "'trace' is given", checker);
  if (traffic.images && (traffic.images->per_request != 1 || traffic.images->share != 1 ||
                         traffic.images->distinct)) {
    checker.error("images", "a trace says itself which images its requests have",
                  "give width and height, or tokens, for those whose size it does not say");
  }
  if (traffic.sessions_from > traffic.sessions_to) {
    checker.error("sessions_from", "'sessions_from' is above 'sessions_to'",
                  "such as sessions_from: 0.25, sessions_to: 0.75");
  }
  for (const char* key : {"speedup", "spread_ticks"}) {
    if (checker.has(key) && (traffic.rate || traffic.concurrency)) {
      checker.error(key,
                    std::string("'") + key + "' belongs to the trace's own times, but '" +
                        (traffic.rate ? "rate" : "concurrency") + "' is given instead",
                    "give one or the other");
    }
  }
}

void check_synthetic(const Traffic& traffic, Checker& checker) {
  refuse(std::array{"format", "speedup", "spread_ticks", "limit", "max_delay", "max_idle",
                    "sessions_from", "sessions_to"},
         "a trace", "none is given", checker);
  if (!traffic.rate && !traffic.concurrency) {
    checker.error("rate", "missing key 'rate' or 'concurrency'",
                  "such as rate: 8 req/s, or concurrency: 64");
  }
  for (const char* key : {"requests_per_slot", "warmup_per_slot"}) {
    if (checker.has(key) && !traffic.concurrency) {
      checker.error(key, std::string("'") + key + "' belongs to a closed loop",
                    "such as concurrency: 64");
    }
  }
  if (checker.has("requests") && traffic.requests_per_slot) {
    checker.error("requests", "'requests' and 'requests_per_slot' exclude each other",
                  "give one or the other");
  }
  if (!checker.has("classes")) {
    check_shape(traffic, checker);
    return;
  }
  refuse(kShapeKeys, "a load of one kind", "'classes' are given", checker);
  if (traffic.classes.empty() || traffic.classes.size() > 255) {
    checker.error("classes", "expected 1 to 255 classes");
  }
}

template <class T>
void describe_shape(ObjectSchema<T>& s) {
  const auto tokens = [] { return Tokens(kMostTokens); };
  s.field("isl", inherited<T>(&LoadShape::isl),
          "Mean input sequence length, in tokens; of lengths at_most the longest.")
      .between(Tokens(1), tokens())
      .example("4000");
  s.field("osl", inherited<T>(&LoadShape::osl),
          "Mean output sequence length, in tokens; of lengths at_most the longest.")
      .between(Tokens(1), tokens())
      .example("500");
  s.field("lengths", inherited<T>(&LoadShape::lengths),
          "How lengths are distributed about their mean.")
      .because("as most benchmarks send them")
      .brief();
  s.field("length_spread", inherited<T>(&LoadShape::length_spread),
          "Coefficient of variation of the lengths, or half-width of uniform ones.")
      .between(0, 2)
      .because("fixed lengths have none")
      .brief();
  s.field("lengths_from", inherited<T>(&LoadShape::lengths_from),
          "Where empirical lengths come from, relative to the recipe: any trace, or a CSV table "
          "of prompt and answer tokens with, if it is a histogram, a column count.")
      .not_empty()
      .example("conversation.jsonl")
      .unset("lengths follow a formula");
  s.field("shared_prefix", inherited<T>(&LoadShape::shared_prefix),
          "Tokens that every prompt of a group begins with, such as a system prompt.")
      .between(Tokens(0), tokens())
      .because("prompts are taken to share nothing")
      .brief();
  s.field("prefix_groups", inherited<T>(&LoadShape::prefix_groups),
          "Number of different shared prefixes.")
      .between(1, 1'000'000)
      .because("one system prompt")
      .brief();
  s.field("turns", inherited<T>(&LoadShape::turns),
          "Mean requests of a session. A later turn's prompt is the whole session so far and its "
          "own tokens; it is sent when the answer before it is complete and thought about.")
      .between(1, 100'000)
      .because("requests are taken to be independent")
      .brief();
  s.field("turn_count", inherited<T>(&LoadShape::turn_count),
          "How the turns of a session are distributed.")
      .because("sessions alike are easier to read")
      .brief();
  s.field("turn_isl", inherited<T>(&LoadShape::turn_isl),
          "Mean tokens that a later turn adds to its session, distributed as isl.")
      .between(Tokens(1), tokens())
      .unset("isl");
  s.field("think_time", inherited<T>(&LoadShape::think_time),
          "Mean time from the end of a turn to the send of the next.")
      .at_least(Duration{0})
      .because("an agent answers at once")
      .brief();
  s.field("think_cv", inherited<T>(&LoadShape::think_cv),
          "Coefficient of variation of the think time, which is gamma distributed; 0: constant.")
      .between(0, 20)
      .because("exponential")
      .brief();
  s.field("images", inherited<T>(&LoadShape::images), "Images that prompts have.")
      .brief()
      .unset("none");
}

}  // namespace

void describe(EnumSchema<LengthDistribution>& s) {
  s.value(LengthDistribution::fixed, "fixed", "every request has the mean length.")
      .value(LengthDistribution::uniform, "uniform",
             "evenly between mean * (1 - spread) and mean * (1 + spread).")
      .value(LengthDistribution::normal, "normal",
             "normal with deviation mean * spread, at least 1.")
      .value(LengthDistribution::lognormal, "lognormal",
             "lognormal with deviation mean * spread: a long tail, as real traffic has.")
      .value(LengthDistribution::at_most, "at_most",
             "evenly between isl * (1 - spread) and isl, as InferenceX sends them (spread 0.2).")
      .value(LengthDistribution::empirical, "empirical",
             "pairs of prompt and answer drawn from lengths_from.");
}

void describe(EnumSchema<TraceFormat>& s) {
  s.value(TraceFormat::detect, "detect", "by what is in the file.")
      .value(TraceFormat::mooncake, "mooncake",
             "JSONL of timestamp (ms), input_length, output_length, hash_ids (512 tokens each); "
             "the log of dyn serve too.")
      .value(TraceFormat::sessions, "sessions",
             "the same, where lines may have session_id, delay (ms), priority or text_input and "
             "leave out timestamp: AIPerf's mooncake_trace. Lines of a session follow each other.")
      .value(TraceFormat::azure, "azure",
             "CSV of arrivals and lengths: Azure's traces, Splitwise's, Vidur's.")
      .value(TraceFormat::burst_gpt, "burst_gpt",
             "CSV with Timestamp (s), Request tokens and Response tokens, as BurstGPT has them.")
      .value(TraceFormat::aiperf, "aiperf",
             "AIPerf's inputs: inputs.json, or single_turn or multi_turn JSONL. Four bytes of text "
             "are taken for a token; osl says how long answers are that name no limit.")
      .value(TraceFormat::aiperf_log, "aiperf_log",
             "profile_export.jsonl of a run, AIPerf's or dyn's: its arrivals and lengths.")
      .value(TraceFormat::weka, "weka",
             "agentic sessions with sub-agents, as kv-cache-tester and AgentX have them.")
      .value(TraceFormat::sub_requests, "sub_requests",
             "agentic sessions of sub_requests with tool_duration_ns, as LLMServingSim has them.");
}

void describe(EnumSchema<ArrivalProcess>& s) {
  s.value(ArrivalProcess::poisson, "poisson", "independent of each other.")
      .value(ArrivalProcess::constant, "constant", "evenly apart.")
      .value(ArrivalProcess::gamma, "gamma",
             "gaps are gamma distributed with arrival_cv: above 1 in clusters, below it regular.");
}

void describe(EnumSchema<RateProfile>& s) {
  s.value(RateProfile::steady, "steady", "the rate is always the same.")
      .value(RateProfile::bursts, "bursts",
             "each period begins with peak_share of it at peak times the mean rate; the rest has "
             "what that leaves.")
      .value(RateProfile::diurnal, "diurnal",
             "a wave that starts in its trough, with peak times the mean rate half a period later.")
      .value(RateProfile::ramp, "ramp",
             "from rate / peak at the start to rate after one period, and so on.");
}

void describe(EnumSchema<TurnCount>& s) {
  s.value(TurnCount::fixed, "fixed", "every session has the mean number.")
      .value(TurnCount::geometric, "geometric",
             "after each turn the session ends with the same probability.");
}

void describe(ObjectSchema<TrafficClass>& s) {
  s.about("class", "One kind of requests of a mix.");
  s.field("weight", &TrafficClass::weight, "Share of the sessions, relative to other weights.")
      .above(0.0)
      .because("classes are as frequent as each other")
      .brief();
  s.field("priority", &TrafficClass::priority,
          "More is served first, where the engine has priorities.")
      .between(-1000, 1000)
      .because("all alike")
      .brief();
  s.field("slo", &TrafficClass::slo,
          "Targets of the class for its goodput, in place of the recipe's.")
      .brief();
  describe_shape(s);
  s.check([](const TrafficClass& shape, Checker& checker) { check_shape(shape, checker); });
}

void describe(ObjectSchema<CancellationSpec>& s) {
  s.about("cancellation", "Clients that leave before their answers end.");
  s.field("share", &CancellationSpec::share,
          "Share of the requests whose client leaves. AIPerf's --request-cancellation-rate, which "
          "is in per cent.")
      .between(0, 1)
      .required()
      .example("0.05");
  s.field("after", &CancellationSpec::after,
          "Mean time from the send until it does; a request that has ended by then has ended. "
          "AIPerf's --request-cancellation-delay.")
      .above(Duration{0})
      .required()
      .example("10 s");
  s.field("until_first_token", &CancellationSpec::until_first_token,
          "Whether clients wait for their first token only: who has it by then stays to the end.")
      .because("as AIPerf's clients, which leave in the middle of an answer too")
      .brief();
  s.field("cv", &CancellationSpec::cv,
          "Coefficient of variation of that time (gamma; 1: exponential).")
      .between(0, 10)
      .because("as AIPerf's clients, all after the same time");
}

void describe(ObjectSchema<Traffic>& s) {
  s.about("traffic",
          "What the requests look like and when they come: either a trace, or a synthetic load "
          "with isl, osl and one of rate and concurrency.");
  s.field("trace", &Traffic::trace, "Path of a trace, relative to the recipe.")
      .not_empty()
      .example("conversation.jsonl")
      .unset("a synthetic load");
  s.field("format", &Traffic::format, "Whose form the trace has.")
      .because("files say it themselves")
      .brief();
  s.field("speedup", &Traffic::speedup,
          "Divides the trace's arrival times, and its delays between turns.")
      .between(0.001, 1000)
      .because("a trace is replayed as it was recorded")
      .brief();
  s.field("spread_ticks", &Traffic::spread_ticks,
          "Spreads arrivals that share a timestamp over the gap to the next, seeded.")
      .because("public traces round times to seconds, and bursts that nobody sent would queue")
      .brief();
  s.field("limit", &Traffic::limit, "Uses only the first so many requests of the trace.")
      .at_least(1)
      .unset("all of them");
  s.field("max_delay", &Traffic::max_delay,
          "Longest wait between two turns of a session of the trace; longer ones are cut.")
      .at_least(Duration{0})
      .unset("as the trace has it");
  s.field("max_idle", &Traffic::max_idle,
          "Longest time in which no request of the whole trace is in flight; where it would be "
          "longer, all that comes later comes so much earlier. AgentX: 10 s (AIPerf's "
          "system_idle_gap_cap_seconds, Dynamo's global_idle_cap_seconds).")
      .at_least(Duration{0})
      .unset("as the trace has it");
  s.field("sessions_to", &Traffic::sessions_to,
          "Sessions of the trace begin at a random place up to this share of their requests, as if "
          "they were under way; what comes before is left out. AgentX: 0.75.")
      .between(0, 0.99)
      .because("sessions begin at their first request")
      .brief();
  s.field("sessions_from", &Traffic::sessions_from,
          "The earliest such place, at most sessions_to. AgentX: 0.25.")
      .between(0, 0.99)
      .because("sessions begin at their first request")
      .brief();
  describe_shape(s);
  s.field("rate", &Traffic::rate,
          "Requests per second of an open loop, sessions where they have turns. With a trace: in "
          "place of its times.")
      .above(RequestsPerSec(0));
  s.field("arrivals", &Traffic::arrivals, "How the gaps between arrivals are distributed.")
      .because("many users who do not know each other")
      .brief();
  s.field("arrival_cv", &Traffic::arrival_cv,
          "Coefficient of variation of the gaps of gamma arrivals.")
      .between(0.01, 100)
      .because("that of Poisson arrivals")
      .brief();
  s.field("profile", &Traffic::profile, "How the rate changes over time; its mean stays 'rate'.")
      .because("the plainest question")
      .brief();
  s.field("period", &Traffic::period, "Length of the profile, which repeats; of a ramp its length.")
      .above(Duration{0})
      .because("long enough for a fleet to settle, short enough to be seen in a run")
      .brief();
  s.field("peak", &Traffic::peak, "Highest rate over the mean; of a ramp, over the first.")
      .between(1, 1000)
      .because("what a day's busy hour often is")
      .brief();
  s.field("peak_share", &Traffic::peak_share, "Share of the period that a burst lasts.")
      .between(0.001, 1)
      .because("a minute of ten")
      .brief();
  s.field("concurrency", &Traffic::concurrency,
          "Requests in flight in a closed loop: each slot sends its next as soon as one ends. A "
          "slot plays a session to its end. With a trace: in place of its times.")
      .between(1, 1'000'000)
      .example("64");
  s.field("cancellation", &Traffic::cancellation,
          "Clients that leave before their answers end. The next turn of a session comes all the "
          "same.")
      .unset("clients wait as long as it takes")
      .brief();
  s.field("requests", &Traffic::requests, "How many requests a synthetic load sends.")
      .between(1, 100'000'000)
      .because("enough for a 99th percentile")
      .brief();
  s.field("requests_per_slot", &Traffic::requests_per_slot,
          "Closed loop: sends so many times 'concurrency', as InferenceX does with 10.")
      .between(1, 1'000'000)
      .unset("'requests' says how many");
  s.field("warmup_per_slot", &Traffic::warmup_per_slot,
          "Closed loop: sends so many times 'concurrency' first, which are not counted; when all "
          "have ended every slot starts at once. InferenceX does so with 2.")
      .between(0, 1000)
      .because("a run is taken to begin with empty caches")
      .brief();
  s.keyed("classes", &Traffic::classes, &TrafficClass::name,
          "Kinds of requests, in place of one, each under its name with lengths and targets of its "
          "own.")
      .brief();
  s.field("adapters", &Traffic::adapters, "LoRA adapters that requests use.").brief().unset("none");
  s.check([](const Traffic& traffic, Checker& checker) {
    traffic.trace ? check_trace(traffic, checker) : check_synthetic(traffic, checker);
    check_arrivals(traffic, checker);
  });
}

}  // namespace dyn
