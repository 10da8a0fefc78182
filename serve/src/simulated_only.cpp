#include <algorithm>

#include "dyn/serve/server.h"

namespace dyn::serve {

std::vector<std::string> simulated_only(const Plan& plan) {
  std::vector<std::string> keys;
  const auto say = [&](bool differs, const char* text) {
    if (differs) {
      keys.emplace_back(text);
    }
  };
  const RouterConfig& router = plan.router;
  say(router.replicas > 1, "router.replicas: this process has one router for each pool");
  say(router.event_delay > Duration{0}, "router.event_delay: events take what they take here");
  say(router.event_loss > 0, "router.event_loss: no event is lost within one process");
  say(router.looks_below_devices() &&
          std::any_of(plan.pools.begin(), plan.pools.end(),
                      [](const PoolSpec& pool) { return pool.engine.kind == EngineKind::openai; }),
      "router.host_credit, disk_credit, object_credit: other engines tell of their devices alone");
  say(plan.pools.size() > 1 && plan.disaggregation.hand_off == HandOff::push,
      "disaggregation.hand_off push: decode workers pull the KV when the prompt is computed");
  say(std::any_of(plan.pools.begin(), plan.pools.end(),
                  [](const PoolSpec& pool) {
                    return pool.engine.kind == EngineKind::simulated && pool.config.lora;
                  }),
      "config.lora: requests name no adapter, so that none is loaded");
  say(plan.autoscaler.kind != AutoscalerKind::off,
      "autoscaler: workers neither come nor go while this process runs");
  return keys;
}

}  // namespace dyn::serve
