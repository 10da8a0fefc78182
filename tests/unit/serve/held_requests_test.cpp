#include "held_requests.h"

#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <vector>

#include "dyn/serve/server.h"

namespace dyn::serve {
namespace {

using namespace std::chrono_literals;

policy::HeldRequest request(std::uint32_t id) {
  return {RequestId(id), SimTime(std::chrono::seconds(id))};
}

TEST_CASE("one request looks for room at a time") {
  std::vector<int> called;
  HeldRequests held(QueueOrder::first_come, 2);
  CHECK(held.push(request(2), [&] { called.push_back(2); }));
  CHECK(held.push(request(1), [&] { called.push_back(1); }));
  CHECK_FALSE(held.push(request(3), [] {}));
  held.room()();
  CHECK(called == std::vector<int>{1});
  CHECK_FALSE(held.room());  // remembered, as the first has not said how it went
  // It found none, but there was more room since: the queue is looked at again.
  CHECK(held.push(request(1), [&] { called.push_back(1); }));
  held.looked(false)();
  CHECK(called == std::vector<int>{1, 1});
  held.looked(true)();
  CHECK(called == std::vector<int>{1, 1, 2});
  CHECK_FALSE(held.looked(true));
  CHECK(held.size() == 0);
}

TEST_CASE("who leaves is not called") {
  HeldRequests held(QueueOrder::first_come, 2);
  held.push(request(1), [] { FAIL("called"); });
  CHECK(held.remove(RequestId(1)));
  CHECK_FALSE(held.remove(RequestId(1)));
  CHECK_FALSE(held.room());
}

TEST_CASE("as long as there is room again and again, everybody has a turn") {
  rc::check([](const std::vector<bool>& outcomes) {
    HeldRequests held(QueueOrder::first_come, 100);
    std::uint32_t placed = 0;
    for (std::uint32_t id = 0; id < 20; ++id) {
      held.push(request(id), [&, id] { RC_ASSERT(id == placed); });
    }
    for (const bool found : outcomes) {
      auto turn = held.room();
      RC_ASSERT(static_cast<bool>(turn) == (placed < 20));
      if (!turn) {
        continue;
      }
      turn();
      if (found) {
        ++placed;
        if (auto next = held.looked(true)) {
          next();  // there was no room for a second
          held.push(request(placed), [&, id = placed] { RC_ASSERT(id == placed); });
          RC_ASSERT(!held.looked(false));
        }
      } else {
        held.push(request(placed), [&, id = placed] { RC_ASSERT(id == placed); });
        RC_ASSERT(!held.looked(false));
      }
    }
    RC_ASSERT(held.size() == 20 - placed);
  });
}

TEST_CASE("a plan's keys that only simulations follow are named") {
  Plan plan;
  plan.pools.resize(2);
  CHECK(simulated_only(plan).empty());
  plan.router.replicas = 2;
  plan.router.event_loss = 0.1;
  plan.router.event_delay = 1ms;
  plan.disaggregation.hand_off = HandOff::push;
  plan.autoscaler.kind = AutoscalerKind::load;
  const auto keys = simulated_only(plan);
  REQUIRE(keys.size() == 5);
  CHECK(keys[0].find("router.replicas") == 0);
  CHECK(keys[3].find("disaggregation.hand_off push") == 0);
  plan.pools.resize(1);
  CHECK(simulated_only(plan).size() == 4);
  plan.pools[0].config.lora = LoraConfig{};
  CHECK(simulated_only(plan).size() == 5);
  plan.pools[0].engine.kind = EngineKind::openai;  // adapters are its own affair
  CHECK(simulated_only(plan).size() == 4);
  plan.router.host_credit = 0.5;  // it tells of its devices alone
  CHECK(simulated_only(plan).size() == 5);
}

}  // namespace
}  // namespace dyn::serve
