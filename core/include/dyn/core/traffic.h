#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dyn/core/cancellation.h"
#include "dyn/core/encoding.h"
#include "dyn/core/lora.h"
#include "dyn/core/quantity.h"
#include "dyn/core/slo.h"

namespace dyn {

enum class LengthDistribution { fixed, uniform, normal, lognormal, at_most, empirical };

/// Whose trace it is. Each form has a reader of its own.
enum class TraceFormat {
  detect,      ///< by what is in the file
  mooncake,    ///< JSONL: timestamp, input_length, output_length, hash_ids; dyn serve's log
  sessions,    ///< the same with session_id, delay, priority or text_input: AIPerf's mooncake_trace
  azure,       ///< CSV: arrival, prompt and answer tokens (Azure's traces, Splitwise, Vidur)
  burst_gpt,   ///< CSV: Timestamp, Model, Request tokens, Response tokens, ...
  aiperf,      ///< AIPerf's inputs: inputs.json, single_turn and multi_turn JSONL
  aiperf_log,  ///< AIPerf's profile_export.jsonl of a run, and dyn's
  weka,        ///< agentic sessions with sub-agents, as AgentX replays them
  sub_requests  ///< agentic sessions with tool times, as LLMServingSim has them
};

enum class ArrivalProcess { poisson, constant, gamma };
enum class RateProfile { steady, bursts, diurnal, ramp };
enum class TurnCount { fixed, geometric };

/// The requests of one kind: how long they are and what they share.
struct LoadShape {
  std::optional<Tokens> isl;
  std::optional<Tokens> osl;
  LengthDistribution lengths = LengthDistribution::fixed;
  double length_spread = 0.0;  ///< coefficient of variation, or half-width of uniform, in [0, 2]
  std::optional<std::string> lengths_from;  ///< empirical: a trace or table, beside the recipe
  Tokens shared_prefix{0};                  ///< tokens that every prompt of a group begins with
  int prefix_groups = 1;
  int turns = 1;  ///< mean requests of a session
  TurnCount turn_count = TurnCount::fixed;
  std::optional<Tokens> turn_isl;  ///< mean tokens that a later turn adds; default isl
  Duration think_time{0};          ///< mean, from the end of a turn to the next
  double think_cv = 1.0;           ///< coefficient of variation of it (gamma)
  std::optional<ImageMix> images;
};

/// One kind of requests of a mix.
struct TrafficClass : LoadShape {
  std::string name;
  double weight = 1;  ///< share of the sessions, relative to the other classes' weights
  int priority = 0;   ///< more is served first, where the engine has priorities
  Slo slo;            ///< instead of the recipe's, for the goodput
};

/// What the requests look like and when they come: either a trace or a synthetic load.
struct Traffic : LoadShape {
  // A trace.
  std::optional<std::string> trace;  ///< relative to the recipe's folder
  TraceFormat format = TraceFormat::detect;
  double speedup = 1.0;      ///< divides the trace's times
  bool spread_ticks = true;  ///< spread arrivals that share a timestamp over the gap to the next
  std::optional<std::int64_t> limit;  ///< use only the first so many requests
  std::optional<Duration> max_delay;  ///< longest wait between two turns of a session
  std::optional<Duration> max_idle;   ///< longest time without a request in flight
  double sessions_from = 0;           ///< sessions begin at a random place between these shares of
  double sessions_to = 0;             ///< their requests
  // When requests come: a trace's own times, or one of `rate` (open loop) and `concurrency`.
  std::optional<RequestsPerSec> rate;  ///< sessions where they have turns
  ArrivalProcess arrivals = ArrivalProcess::poisson;
  double arrival_cv = 1.0;  ///< gamma: coefficient of variation of the gaps
  RateProfile profile = RateProfile::steady;
  Duration period = std::chrono::minutes(10);  ///< of the profile
  double peak = 2.0;                           ///< highest rate / mean rate (ramp: / first rate)
  double peak_share = 0.1;                     ///< bursts: share of the period
  std::optional<int> concurrency;
  std::optional<CancellationSpec> cancellation;
  // A synthetic load.
  std::int64_t requests = 1000;          ///< how many a synthetic load sends
  std::optional<int> requests_per_slot;  ///< closed loop: instead of `requests`
  int warmup_per_slot = 0;  ///< closed loop: requests before the run, which are not counted
  std::vector<TrafficClass> classes;  ///< instead of one kind of requests
  std::optional<AdapterMix> adapters;
};

}  // namespace dyn
