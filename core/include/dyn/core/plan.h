#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dyn/core/encoding.h"
#include "dyn/core/layout.h"
#include "dyn/core/model_spec.h"
#include "dyn/core/profile.h"
#include "dyn/core/recipe.h"

namespace dyn {

class Document;

enum class EngineKind {
  simulated,  ///< the engine state machine with predicted step times
  openai,     ///< a running OpenAI-compatible server
};

/// Where the engine behind a worker is.
struct EngineTarget {
  EngineKind kind = EngineKind::simulated;
  std::vector<std::string> url;  ///< openai: base URL of each replica, http://host:port
  Duration connect_timeout = std::chrono::seconds(5);
  Duration first_token_timeout = std::chrono::seconds(120);
  Duration token_timeout = std::chrono::seconds(60);  ///< longest gap within a stream
};

/// `replicas` equal workers.
struct PoolSpec {
  WorkerRole role = WorkerRole::aggregated;
  int replicas = 1;
  ParallelLayout layout;
  EngineConfig config;  ///< with kv_blocks and max_model_len resolved
  EngineTarget engine;
  StepTiming timing;               ///< of simulated engines
  std::optional<Profile> profile;  ///< of its devices; default the plan's
};

/// Workers that encode images (EncodeWorkers).
struct EncodeSpec : EncodeWorkers {
  std::optional<Profile> profile;  ///< of their devices; default the plan's
};

/// What moves from a prefill worker to a decode worker, and, where the network's links are not to
/// be followed, the port that it moves through.
struct TransferSpec {
  BytesPerSec bandwidth{0};  ///< per worker and direction; 0: the links of `Plan::network`
  Duration latency{0};       ///< where there is a bandwidth
  Bytes bytes_per_token{0};  ///< of the KV of all layers that keep the whole context
};

/// A predicted figure, kept with the plan so that what is served can be checked against it.
struct PlannedMetric {
  std::string name;  ///< report tag and statistic, such as time_to_first_token.p99
  std::string unit;
  Estimate estimate;
};

/// A deployment, written down (schema dyn.plan/1): what `dyn serve` runs, what the simulator
/// simulates, what the emitters turn into manifests. Self-contained: it carries the model and
/// the device profile it was priced with.
struct Plan {
  std::string name;
  ModelSpec model;
  Precision weights = Precision::bf16;
  Precision kv_cache = Precision::bf16;
  Profile profile;              ///< without a name where no step time comes from the latency model
  std::vector<PoolSpec> pools;  ///< one aggregated pool, or one prefill and one decode pool
  std::optional<EncodeSpec> encode;  ///< none: who computes a prompt encodes its images
  RouterConfig router;
  TransferSpec transfer;
  NetworkSpec network;
  DisaggregationSpec disaggregation;
  AutoscalerSpec autoscaler;
  KvTiers kv_tiers;  ///< of the workers that compute prompts
  Slo slo;
  std::uint64_t seed = 1;
  std::vector<PlannedMetric> predicted;

  int gpus() const;
  const PoolSpec* pool(WorkerRole role) const;  ///< null if there is none
};

/// Reads a plan. Throws Error(bad_input) with every problem found.
Plan load_plan(const std::string& path);
Plan parse_plan(const Document& document);
std::string to_json(const Plan& plan);

}  // namespace dyn
