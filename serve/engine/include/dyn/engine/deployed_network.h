#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dyn/core/plan.h"
#include "dyn/engine/network.h"
#include "dyn/perf/sent_kv.h"

namespace dyn::engine {

/// The network of a plan, and where its engines are in it.
struct DeployedNetwork {
  Network network;
  /// By pool, by rank (worker by worker, attention-DP rank by rank).
  std::vector<std::vector<SiteId>> sites;
  std::vector<SiteId> encoders;  ///< of the encode pool
  perf::SentKv sent;             ///< of a prompt, to a decode worker
};

/// Places the engines pool by pool, for `replicas` workers of each pool: those of the plan, or as
/// many as it may grow to. Every rank has the GPUs of its tensor and pipeline group. Where the plan
/// gives the transfers' own bandwidth or latency, each worker has one port with these. The encode
/// pool comes last.
DeployedNetwork deploy_network(const Plan& plan, std::span<const int> replicas, std::uint64_t seed);

}  // namespace dyn::engine
