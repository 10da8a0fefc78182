// Routers that see the tiers below their workers' devices.
#include <catch2/catch.hpp>

#include "blocks.h"
#include "dyn/policy/router.h"
#include "timer.h"

namespace dyn::policy {
namespace {

using namespace std::chrono_literals;

/// Blocks of 1 MB, which a tier reads in a microsecond at 1 TB/s.
RouterTier tier(double credit, bool shared = false, double bytes_per_second = 1e12,
                Duration latency = 0s) {
  return {credit, shared, Bytes(1'000'000), BytesPerSec(bytes_per_second), latency};
}

RouterOptions options(std::vector<RouterTier> tiers, std::uint32_t workers = 2) {
  RouterOptions out;
  out.workers = workers;
  out.tiers = std::move(tiers);
  out.timer = std::make_shared<test::Timer>();
  out.step_tokens = 10'000;
  return out;
}

struct Prompt {
  std::vector<kvbm::BlockHash> hashes;
  explicit Prompt(std::uint64_t blocks, std::uint64_t first = 1)
      : hashes(test::blocks(first, blocks)) {}
  RouteRequest request(std::uint32_t id) const {
    RouteRequest out;
    out.id = RequestId(id);
    out.prompt_tokens = static_cast<std::int64_t>(hashes.size()) * 16;
    out.blocks = kvbm::PromptBlocks(hashes);
    return out;
  }
};

/// Says that a worker has the blocks [first, end) of a prompt in a tier; 0: its device.
void tell(Router& router, std::uint32_t worker, std::uint8_t tier, const Prompt& prompt,
          std::size_t first, std::size_t end,
          kvbm::KvEvent::Kind kind = kvbm::KvEvent::Kind::stored) {
  for (std::size_t i = first; i < end; ++i) {
    router.on_kv_event(WorkerId(worker), {kind, prompt.hashes[i], 0, 1, tier});
  }
}

TEST_CASE("a prompt goes where host memory has it, if that counts") {
  const Prompt prompt(10);
  for (const double credit : {0.0, 0.5, 1.0}) {
    Router router(options({tier(credit)}));
    tell(router, 1, 1, prompt, 0, 10);
    tell(router, 0, 0, prompt, 0, 2);
    const Result<RouteChoice> choice = router.route(prompt.request(0), SimTime{});
    const bool below = credit > 0.2;
    CHECK(choice->worker.value() == (below ? 1 : 0));
    CHECK(choice->cached_blocks == (below ? 0 : 2));
    CHECK(choice->tier_blocks[0] == (below ? 10 : 0));
    // Blocks to compute, and 10 active there.
    CHECK(choice->cost == Approx(10 - (below ? credit * 10 : 2) + 10));
  }
}

TEST_CASE("each tier goes on behind the one above it with a credit of its own") {
  const Prompt prompt(100);
  Router router(options({tier(0.75), tier(0.25), tier(0.5, true)}, 1));
  tell(router, 0, 0, prompt, 0, 10);
  tell(router, 0, 1, prompt, 0, 30);
  tell(router, 0, 2, prompt, 20, 50);
  tell(router, 0, 3, prompt, 0, 90);
  const Result<RouteChoice> choice = router.route(prompt.request(0), SimTime{});
  CHECK(choice->cached_blocks == 10);
  CHECK(choice->tier_blocks == std::array<std::uint32_t, 3>{20, 20, 40});
  CHECK(choice->cost == Approx(100 - 10 - 0.75 * 20 - 0.25 * 20 - 0.5 * 40 + 100));
}

TEST_CASE("a request is booked with what it is expected to compute") {
  const Prompt prompt(10);
  const Prompt other(10, 1000);
  Router router(options({tier(0.5)}, 1));
  tell(router, 0, 1, prompt, 0, 8);
  router.route(prompt.request(0), SimTime{});
  // 6 blocks of prefill wait there, and 10 are active.
  CHECK(router.route(other.request(1), SimTime{})->cost == Approx(6 + 10 + 10 + 10));
  Router elsewhere(options({tier(0.5)}, 1));
  tell(elsewhere, 0, 1, prompt, 0, 8);
  elsewhere.booked_elsewhere(prompt.request(0), WorkerId(0), SimTime{});
  CHECK(elsewhere.route(other.request(1), SimTime{})->cost == Approx(6 + 10 + 10 + 10));
}

TEST_CASE("a tier that workers share speaks for no worker, and outlives them") {
  const Prompt prompt(10);
  Router router(options({tier(0.5, true)}));
  router.set_available(WorkerId(0), false);
  tell(router, 0, 1, prompt, 0, 10);
  CHECK(router.route(prompt.request(0), SimTime{})->tier_blocks[0] == 10);
  tell(router, 0, 1, prompt, 4, 5, kvbm::KvEvent::Kind::removed);
  CHECK(router.route(prompt.request(1), SimTime{})->tier_blocks[0] == 4);
}

TEST_CASE("a worker's own tiers are forgotten with it") {
  const Prompt prompt(10);
  Router router(options({tier(0.5)}, 1));
  tell(router, 0, 1, prompt, 0, 10);
  router.set_available(WorkerId(0), false);
  tell(router, 0, 1, prompt, 0, 3);  // it is out
  router.set_available(WorkerId(0), true);
  CHECK(router.route(prompt.request(0), SimTime{})->tier_blocks[0] == 0);
}

TEST_CASE("in seconds a lower tier's blocks take the time to load them, or are computed") {
  const Prompt prompt(100);
  const auto cost = [&](std::vector<RouterTier> tiers) {
    RouterOptions given = options(std::move(tiers), 1);
    given.config.cost = RouterCost::seconds;
    Router router(given);
    tell(router, 0, 0, prompt, 0, 10);
    if (!given.tiers.empty()) {
      tell(router, 0, 1, prompt, 10, 60);
    }
    if (given.tiers.size() > 1) {
      tell(router, 0, 2, prompt, 60, 80);
    }
    return router.route(prompt.request(0), SimTime{})->cost;
  };
  const double blocks = 160e-6;
  CHECK(cost({}) == Approx(1e-3 + 90 * blocks));
  // 50 MB at 10 GB/s.
  CHECK(cost({tier(1, false, 10e9)}) == Approx(5e-3 + 1e-3 + 40 * blocks));
  CHECK(cost({tier(1, false, 10e9, 2ms)}) == Approx(7e-3 + 1e-3 + 40 * blocks));
  // The second tier's 20 MB are read at the same time, and are there later.
  CHECK(cost({tier(1, false, 10e9), tier(1, false, 2.5e9)}) == Approx(8e-3 + 1e-3 + 20 * blocks));
  // What takes longer than computing it is left out.
  CHECK(cost({tier(1, false, 10e9), tier(1, false, 1e9)}) == Approx(5e-3 + 1e-3 + 40 * blocks));
  CHECK(cost({tier(1, false, 1e9), tier(1, false, 1e9)}) == Approx(1e-3 + 90 * blocks));
  // Half of them are taken to be there still.
  CHECK(cost({tier(0.5, false, 10e9)}) == Approx(2.5e-3 + 1e-3 + 65 * blocks));
}

TEST_CASE("in seconds a worker that would load slowly loses against one that computes soon") {
  const Prompt prompt(100);
  for (const bool fast : {false, true}) {
    RouterOptions given = options({tier(1, false, fast ? 50e9 : 5e9)});
    given.config.cost = RouterCost::seconds;
    Router router(given);
    tell(router, 1, 1, prompt, 0, 99);
    tell(router, 0, 0, prompt, 0, 50);
    // Loading 99 MB takes 2 ms or 20, computing 50 blocks 8.
    CHECK(router.route(prompt.request(0), SimTime{})->worker.value() == (fast ? 1 : 0));
  }
}

TEST_CASE("events of tiers that a router does not weigh are ignored") {
  const Prompt prompt(10);
  Router router(options({}, 1));
  tell(router, 0, 1, prompt, 0, 10);
  const Result<RouteChoice> choice = router.route(prompt.request(0), SimTime{});
  CHECK(choice->cached_blocks == 0);
  CHECK(choice->cost == Approx(20));
  CHECK(router.index_segments() == 0);
}

}  // namespace
}  // namespace dyn::policy
