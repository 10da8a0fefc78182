#include "dyn/policy/router.h"

#include <catch2/catch.hpp>
#include <map>

#include "blocks.h"

namespace {

using namespace dyn;
using namespace dyn::policy;
using dyn::policy::test::blocks;

RouterOptions options(RouterKind kind, std::uint32_t workers) {
  RouterOptions result;
  result.config.kind = kind;
  result.workers = workers;
  return result;
}

RouteRequest request(std::uint32_t id, std::int64_t prompt = 160,
                     const std::vector<kvbm::BlockHash>& blocks = {}) {
  RouteRequest result;
  result.id = RequestId(id);
  result.prompt_tokens = prompt;
  result.blocks = kvbm::PromptBlocks(blocks);
  return result;
}

void store(Router& router, std::uint32_t worker, const std::vector<kvbm::BlockHash>& hashes) {
  for (const kvbm::BlockHash hash : hashes) {
    router.on_kv_event(WorkerId(worker), {kvbm::KvEvent::Kind::stored, hash});
  }
}

TEST_CASE("round robin takes turns and skips who is not available") {
  Router router(options(RouterKind::round_robin, 3));
  std::vector<std::uint32_t> chosen;
  for (std::uint32_t id = 0; id < 4; ++id) {
    chosen.push_back(router.route(request(id), SimTime{}).value().worker.value());
  }
  CHECK(chosen == std::vector<std::uint32_t>{0, 1, 2, 0});
  router.set_available(WorkerId(1), false);
  CHECK(router.route(request(10), SimTime{})->worker == WorkerId(2));
  CHECK(router.route(request(11), SimTime{})->worker == WorkerId(0));
  router.set_available(WorkerId(1), true);
  CHECK(router.route(request(12), SimTime{})->worker == WorkerId(1));
}

TEST_CASE("a decode pool is not chosen by prompts that are computed elsewhere") {
  RouterConfig config;
  config.overlap_credit = 2;
  config.prefill_load_scale = 3;
  for (const WorkerRole role : {WorkerRole::aggregated, WorkerRole::prefill}) {
    CHECK(router_config(config, role).overlap_credit == 2);
    CHECK(router_config(config, role).prefill_load_scale == 3);
  }
  CHECK(router_config(config, WorkerRole::decode).overlap_credit == 0);
  CHECK(router_config(config, WorkerRole::decode).prefill_load_scale == 0);
}

TEST_CASE(
    "a prefill worker holds the prompts that wait for their hand-over, not those it computes") {
  RouterOptions given = options(RouterKind::kv_aware, 2);
  given.role = WorkerRole::prefill;
  Router router(given);
  const WorkerId first = router.route(request(1, 1600), SimTime{})->worker;
  const auto cost = [&](std::uint32_t id) {
    const RouteChoice choice = router.route(request(id, 160), SimTime{}).value();
    router.finished(RequestId(id));
    CHECK(choice.worker != first);
    return choice.cost;
  };
  CHECK(cost(2) == 10);  // its own prompt alone
  router.prefill_done(RequestId(1));
  CHECK(cost(3) == 10);  // the other one has 100 blocks to hand over
  router.finished(RequestId(1));
  CHECK(router.active_requests(first) == 0);
}

TEST_CASE("decode workers hold a prompt that they share once for each request") {
  const std::vector<kvbm::BlockHash> prompt = blocks(0, 16);
  for (const WorkerRole role : {WorkerRole::aggregated, WorkerRole::decode}) {
    RouterOptions given = options(RouterKind::kv_aware, 1);
    given.role = role;
    given.config = router_config(given.config, WorkerRole::decode);
    Router router(given);
    router.route(request(1, 256, prompt), SimTime{}).value();
    const double cost = router.route(request(2, 256, prompt), SimTime{})->cost;
    CHECK(cost == (role == WorkerRole::decode ? 32 : 16));
  }
}

TEST_CASE("least loaded counts requests until they are finished") {
  Router router(options(RouterKind::least_loaded, 2));
  const WorkerId first = router.route(request(1), SimTime{})->worker;
  const WorkerId second = router.route(request(2), SimTime{})->worker;
  CHECK(first != second);
  router.finished(RequestId(1));
  CHECK(router.active_requests(first) == 0);
  CHECK(router.route(request(3), SimTime{})->worker == first);
  router.finished(RequestId(99));  // unknown
  router.prefill_done(RequestId(99));
  router.output_block(RequestId(99));
  CHECK(router.active_requests(second) == 1);
}

TEST_CASE("ties are spread over all workers, and equally so for an equal seed") {
  for (const RouterKind kind :
       {RouterKind::kv_aware, RouterKind::least_loaded, RouterKind::random}) {
    std::map<std::uint32_t, int> counts;
    std::vector<std::uint32_t> order[2];
    for (auto& chosen : order) {
      Router router(options(kind, 4));
      for (std::uint32_t id = 0; id < 400; ++id) {
        const WorkerId worker = router.route(request(id), SimTime{})->worker;
        chosen.push_back(worker.value());
        router.finished(RequestId(id));  // so that all workers are equal again
      }
    }
    CHECK(order[0] == order[1]);
    for (const std::uint32_t worker : order[0]) {
      ++counts[worker];
    }
    for (std::uint32_t worker = 0; worker < 4; ++worker) {
      CHECK(counts[worker] > 60);  // 100 expected
    }
  }
}

TEST_CASE("kv-aware weighs cached blocks against load, as Dynamo's documented example") {
  // Costs 8 + 10, 5 + 5 and 2 + 9 of the example: 10 prompt blocks, of which 2, 5 and 8 are cached.
  Router router(options(RouterKind::kv_aware, 3));
  const auto prompt = blocks(1, 10);
  store(router, 0, blocks(1, 2));
  store(router, 1, blocks(1, 5));
  store(router, 2, blocks(1, 8));
  std::uint32_t id = 100;
  const std::int64_t load[] = {10, 5, 9};
  for (std::uint32_t worker = 0; worker < 3; ++worker) {
    for (std::uint32_t other = 0; other < 3; ++other) {
      router.set_available(WorkerId(other), other == worker);
    }
    router.route(request(id, load[worker] * 16), SimTime{}).value();
    router.prefill_done(RequestId(id++));
  }
  for (std::uint32_t worker = 0; worker < 3; ++worker) {
    router.set_available(WorkerId(worker), true);
  }
  store(router, 0, blocks(1, 2));  // taking a worker out has made the router forget
  store(router, 1, blocks(1, 5));
  store(router, 2, blocks(1, 8));
  const RouteChoice choice = router.route(request(1, 160, prompt), SimTime{}).value();
  CHECK(choice.worker == WorkerId(1));
  CHECK(choice.cached_blocks == 5);
  CHECK(choice.cost == Approx(10 + 10));  // its own 10 blocks are active there too
}

TEST_CASE("prefill counts until it is done, blocks until the request is finished") {
  Router router(options(RouterKind::kv_aware, 1));
  const auto cost = [&](std::uint32_t id) {
    const double result = router.route(request(id, 16), SimTime{})->cost;
    router.finished(RequestId(id));
    return result;
  };
  CHECK(cost(1) == Approx(1 + 1));
  router.route(request(2, 160), SimTime{}).value();
  CHECK(cost(3) == Approx(1 + 10 + 1 + 10));
  router.prefill_done(RequestId(2));
  router.prefill_done(RequestId(2));
  CHECK(cost(4) == Approx(1 + 1 + 10));
  router.output_block(RequestId(2));
  CHECK(cost(5) == Approx(1 + 1 + 11));
  router.finished(RequestId(2));
  CHECK(cost(6) == Approx(1 + 1));
}

TEST_CASE("active blocks that requests share count once") {
  Router router(options(RouterKind::kv_aware, 2));
  const auto shared = blocks(1, 64);
  store(router, 0, shared);
  for (std::uint32_t id = 0; id < 20; ++id) {
    const RouteChoice choice = router.route(request(id, 64 * 16, shared), SimTime{}).value();
    router.prefill_done(RequestId(id));
    CHECK(choice.worker == WorkerId(0));  // else it would be sent away from its cache
    CHECK(choice.cost == Approx(64));
  }
  for (std::uint32_t id = 0; id < 20; ++id) {
    router.finished(RequestId(id));
  }
  CHECK(router.route(request(50, 16), SimTime{})->cost == Approx(1 + 1));
}

TEST_CASE("a temperature above 0 sometimes takes the dearer worker, but not as often") {
  RouterOptions o = options(RouterKind::kv_aware, 2);
  o.config.temperature = 1.0;
  Router router(o);
  const auto prompt = blocks(1, 10);
  store(router, 1, prompt);
  int cheap = 0;
  for (std::uint32_t id = 0; id < 1000; ++id) {
    cheap += router.route(request(id, 160, prompt), SimTime{})->worker == WorkerId(1) ? 1 : 0;
    router.finished(RequestId(id));
  }
  CHECK(cheap > 680);  // 1 / (1 + 1/e) = 731 expected
  CHECK(cheap < 780);
}

TEST_CASE("a pool whose queues are full is overloaded until a prompt is computed") {
  RouterOptions o = options(RouterKind::kv_aware, 2);
  o.config.max_queued_per_worker = 1;
  Router router(o);
  router.route(request(1), SimTime{}).value();
  router.route(request(2), SimTime{}).value();
  CHECK(router.route(request(3), SimTime{}).error() == router_errc::overloaded);
  router.prefill_done(RequestId(2));
  CHECK(router.route(request(3), SimTime{}).has_value());
  router.set_available(WorkerId(0), false);
  router.set_available(WorkerId(1), false);
  const auto none = router.route(request(4), SimTime{});
  CHECK(none.error() == router_errc::no_workers);
  CHECK_FALSE(none.error().message().empty());
}

TEST_CASE("a worker taken out loses its cache, and events of one that is out are ignored") {
  Router router(options(RouterKind::kv_aware, 2));
  const auto prompt = blocks(1, 10);
  store(router, 1, prompt);
  CHECK(router.index_segments() == 10);
  CHECK(router.index_bytes() > 0);
  router.set_available(WorkerId(1), false);
  CHECK(router.index_segments() == 0);
  store(router, 1, prompt);
  CHECK(router.index_segments() == 0);
  router.set_available(WorkerId(1), true);
  CHECK(router.route(request(1, 160, prompt), SimTime{})->cached_blocks == 0);
}

}  // namespace
