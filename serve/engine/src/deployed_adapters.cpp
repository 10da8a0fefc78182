#include "dyn/engine/deployed_adapters.h"

#include "dyn/core/error.h"
#include "dyn/perf/given_timing.h"

namespace dyn::engine {

policy::AdapterLoadTimes adapter_load_times(const Plan& plan, const PoolSpec& pool) {
  policy::AdapterLoadTimes out;
  if (!pool.config.lora) {
    return out;
  }
  const NetworkSpec network = resolve_network(plan.network, perf::profile_of(plan, pool));
  if (network.host_link->count() <= 0 || network.disk_read->count() <= 0) {
    throw Error(ErrorKind::bad_input,
                "LoRA adapters are loaded over a GPU's link to its host, which has no bandwidth",
                "give network.host_link and network.disk_read, or the hardware");
  }
  out.from_host =
      adapter_bytes_per_gpu(*pool.config.lora, plan.model, pool.layout) / *network.host_link;
  out.from_storage = out.from_host + *network.disk_latency +
                     adapter_bytes(*pool.config.lora, plan.model) / *network.disk_read;
  return out;
}

}  // namespace dyn::engine
