#include <array>
#include <catch2/catch.hpp>

#include "dyn/policy/router.h"
#include "timer.h"

namespace dyn::policy {
namespace {

using namespace std::chrono_literals;

RouterOptions options(RouterKind kind, std::uint32_t workers) {
  RouterOptions out;
  out.config.kind = kind;
  out.workers = workers;
  out.timer = std::make_shared<test::Timer>();
  out.step_tokens = 1000;
  return out;
}

RouteRequest ask(std::uint32_t id, std::int64_t tokens = 100, kvbm::PromptBlocks blocks = {}) {
  RouteRequest request;
  request.id = RequestId(id);
  request.prompt_tokens = tokens;
  request.blocks = blocks;
  return request;
}

std::uint32_t where(Router& router, const RouteRequest& request, Duration now = 0s) {
  return router.route(request, SimTime(now))->worker.value();
}

TEST_CASE("power of two keeps load far more even than chance, and never takes the fuller of two") {
  Router router(options(RouterKind::power_of_two, 50));
  for (std::uint32_t i = 0; i < 5000; ++i) {
    where(router, ask(i));
  }
  std::uint32_t most = 0;
  for (std::uint32_t w = 0; w < 50; ++w) {
    most = std::max(most, router.active_requests(WorkerId(w)));
  }
  CHECK(most <= 100 + 5);  // log log n / log 2 above the mean; by chance it would be about 125
  Router two(options(RouterKind::power_of_two, 2));
  where(two, ask(0));
  where(two, ask(1));
  CHECK(two.active_requests(WorkerId(0)) == 1);
}

TEST_CASE("a session stays with its worker until it has been silent for long") {
  RouterOptions given = options(RouterKind::session_affinity, 4);
  given.config.affinity_ttl = 60s;
  Router router(given);
  RouteRequest request = ask(0);
  request.session = 77;
  const std::uint32_t first = where(router, request);
  for (std::uint32_t i = 1; i < 4; ++i) {
    request.id = RequestId(i);
    CHECK(where(router, request, i * 50s) == first);  // though it is the fullest
  }
  request.id = RequestId(9);
  CHECK(where(router, request, 211s) != first);
  router.set_available(WorkerId(first), false);
  request.id = RequestId(10);
  request.session = 0;
  CHECK(where(router, request, 212s) != first);
}

TEST_CASE("a session moves where its worker is gone") {
  Router router(options(RouterKind::session_affinity, 2));
  RouteRequest request = ask(0);
  request.session = 5;
  const std::uint32_t first = where(router, request);
  router.set_available(WorkerId(first), false);
  request.id = RequestId(1);
  CHECK(where(router, request, 1s) == 1 - first);
  router.set_available(WorkerId(first), true);
  request.id = RequestId(2);
  CHECK(where(router, request, 2s) == 1 - first);
}

TEST_CASE("a cost in seconds is the time to the first token, step by step") {
  RouterOptions given = options(RouterKind::kv_aware, 1);
  given.config.cost = RouterCost::seconds;
  Router router(given);
  // 2500 tokens: two full steps of 11 ms and one of 6 ms.
  CHECK(router.route(ask(0, 2500), SimTime(0s))->cost == Approx(0.028));
  // Behind them, 3000 tokens in all: three full steps.
  CHECK(router.route(ask(1, 500), SimTime(0s))->cost == Approx(0.033));
  router.prefill_done(RequestId(0));
  router.prefill_done(RequestId(1));
  // Two sequences decode beside it: 1 + 5 + 0.2 ms.
  CHECK(router.route(ask(2, 500), SimTime(0s))->cost == Approx(0.0062));
}

TEST_CASE("in seconds a cached prompt is worth the wait for it, but no more") {
  RouterOptions given = options(RouterKind::kv_aware, 2);
  given.config.cost = RouterCost::seconds;
  Router router(given);
  std::vector<kvbm::BlockHash> hashes;
  for (std::uint64_t i = 0; i < 100; ++i) {
    hashes.push_back(kvbm::BlockHash{i + 1});
    router.on_kv_event(WorkerId(1), {kvbm::KvEvent::Kind::stored, hashes.back()});
  }
  const kvbm::PromptBlocks blocks(hashes);
  CHECK(where(router, ask(0, 1600, blocks)) == 1);
  // 3000 tokens wait there now: more than the 1600 cost at the other.
  RouteRequest load = ask(1, 4600);
  router.set_available(WorkerId(0), false);
  where(router, load);
  router.set_available(WorkerId(0), true);
  CHECK(where(router, ask(2, 1600, blocks)) == 0);
}

TEST_CASE("a guessed cache follows the router's own choices, and is forgotten") {
  RouterOptions given = options(RouterKind::kv_aware, 3);
  given.config.cache_view = CacheView::approximate;
  given.config.approximate_ttl = 10s;
  Router router(given);
  const std::array<kvbm::BlockHash, 4> hashes{kvbm::BlockHash{1}, kvbm::BlockHash{2},
                                              kvbm::BlockHash{3}, kvbm::BlockHash{4}};
  const kvbm::PromptBlocks blocks(hashes);
  const std::uint32_t first = where(router, ask(0, 64, blocks));
  router.finished(RequestId(0));
  CHECK(router.most_cached(blocks, SimTime(5s)) == 4);
  CHECK(router.route(ask(1, 64, blocks), SimTime(9s))->worker.value() == first);
  router.finished(RequestId(1));
  CHECK(router.most_cached(blocks, SimTime(19s)) == 4);
  CHECK(router.most_cached(blocks, SimTime(20s)) == 0);
  // Events of engines are not believed.
  router.on_kv_event(WorkerId(0), {kvbm::KvEvent::Kind::stored, hashes[0]});
  CHECK(router.most_cached(blocks, SimTime(20s)) == 0);
}

TEST_CASE("what another router chose counts as load here") {
  Router router(options(RouterKind::least_loaded, 2));
  router.booked_elsewhere(ask(0), WorkerId(0), SimTime(0s));
  router.booked_elsewhere(ask(1), WorkerId(0), SimTime(0s));
  CHECK(where(router, ask(2)) == 1);
  CHECK(where(router, ask(3)) == 1);
  router.finished(RequestId(2));
  router.finished(RequestId(3));
  router.finished(RequestId(0));
  CHECK(router.active_requests(WorkerId(0)) == 1);
  CHECK(where(router, ask(4)) == 1);
}

TEST_CASE("requests are to be held while every worker has enough queued") {
  RouterOptions given = options(RouterKind::round_robin, 2);
  given.config.hold_above = 0;
  Router router(given);
  CHECK(router.route(ask(0), SimTime(0s)).has_value());
  CHECK(router.route(ask(1), SimTime(0s)).has_value());
  const auto held = router.route(ask(2), SimTime(0s));
  REQUIRE(held.has_error());
  CHECK(held.error() == router_errc::busy);
  CHECK(router.least_queued() == 1U);
  router.prefill_done(RequestId(1));
  CHECK(router.least_queued() == 0U);
  CHECK(router.route(ask(2), SimTime(0s)).has_value());
}

}  // namespace
}  // namespace dyn::policy
