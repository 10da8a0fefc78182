#include "dyn/engine/deployed_network.h"

#include "dyn/core/check.h"
#include "dyn/core/random.h"
#include "dyn/engine/engine.h"

namespace dyn::engine {
namespace {

bool flat(const TransferSpec& transfer) {
  return transfer.bandwidth > BytesPerSec(0) || transfer.latency > Duration{0};
}

NetworkSpec spec_of(const Plan& plan) {
  NetworkSpec spec = resolve_network(plan.network, plan.profile);
  if (flat(plan.transfer)) {
    spec.intra_node_latency = plan.transfer.latency;
  }
  return spec;
}

/// The ports of a pool's own GPUs, where they are not the plan's.
std::optional<Network::Ports> ports_of(const Plan& plan, const std::optional<Profile>& profile) {
  if (!profile) {
    return std::nullopt;
  }
  const NetworkSpec own = resolve_network(plan.network, *profile);
  return Network::Ports{*own.intra_node, *own.inter_node, *own.host_link};
}

}  // namespace

DeployedNetwork deploy_network(const Plan& plan, std::span<const int> replicas,
                               std::uint64_t seed) {
  DYN_ASSERT(replicas.size() == plan.pools.size(), "a number of workers for each pool");
  DeployedNetwork out{Network(spec_of(plan), RandomStream(seed, "network").next()), {}, {}, {}};
  for (std::size_t i = 0; i < plan.pools.size(); ++i) {
    const PoolSpec& pool = plan.pools[i];
    std::vector<SiteId>& sites = out.sites.emplace_back();
    for (int worker = 0; worker < replicas[i]; ++worker) {
      if (flat(plan.transfer)) {
        const SiteId site = out.network.add_flat_site(pool.layout.gpus(), plan.transfer.bandwidth);
        sites.insert(sites.end(), static_cast<std::size_t>(pool.layout.data), site);
        continue;
      }
      for (int rank = 0; rank < pool.layout.data; ++rank) {
        sites.push_back(out.network.add_site(pool.layout.tensor * pool.layout.pipeline,
                                             ports_of(plan, pool.profile)));
      }
    }
  }
  for (int worker = 0; plan.encode && worker < plan.encode->replicas; ++worker) {
    const int gpus = plan.encode->tensor;
    out.encoders.push_back(flat(plan.transfer)
                               ? out.network.add_flat_site(gpus, plan.transfer.bandwidth)
                               : out.network.add_site(gpus, ports_of(plan, plan.encode->profile)));
  }
  if (const PoolSpec* decode = plan.pool(WorkerRole::decode)) {
    out.sent =
        perf::sent_kv(plan.model, plan.kv_cache, decode->layout.tensor,
                      keeps_windows(plan, *decode))
            .scaled(plan.transfer.bytes_per_token, plan.model.kv_bytes_per_token(plan.kv_cache, 1));
  }
  return out;
}

}  // namespace dyn::engine
