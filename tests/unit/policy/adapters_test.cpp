#include "dyn/policy/adapters.h"

#include <catch2/catch.hpp>
#include <set>

#include "dyn/policy/router.h"
#include "dyn/policy/scheduler.h"

namespace {

using namespace dyn;
using namespace dyn::policy;
using Place = AdapterSlots::Place;

LoraConfig lora(int slots, std::optional<int> host_slots = std::nullopt) {
  LoraConfig out;
  out.slots = slots;
  out.host_slots = host_slots;
  return out;
}

/// Uses an adapter and leaves it at once; says where it was.
Place touch(AdapterSlots& slots, AdapterNumber adapter) {
  const Place place = slots.join(adapter);
  slots.leave(adapter);
  return place;
}

TEST_CASE("the adapters last used stay in the device, those before in host memory") {
  AdapterSlots slots(lora(2, 3));
  CHECK(touch(slots, 1) == Place::storage);
  CHECK(touch(slots, 2) == Place::storage);
  CHECK(touch(slots, 1) == Place::device);
  CHECK(touch(slots, 3) == Place::storage);  // puts 2 out of the device
  CHECK(touch(slots, 2) == Place::host);     // and 2 puts out 1, and 4 puts 1 out of host memory
  CHECK(touch(slots, 4) == Place::storage);
  CHECK(touch(slots, 1) == Place::storage);
}

TEST_CASE("an adapter in use is not evicted, however long ago it was loaded") {
  AdapterSlots slots(lora(2, 2));
  slots.join(1);
  for (const AdapterNumber other : {2, 3, 4}) {
    CHECK(touch(slots, other) == Place::storage);
  }
  CHECK(slots.join(1) == Place::device);
  CHECK(slots.users(1) == 2);
  CHECK(slots.in_use() == 1);
}

TEST_CASE("an adapter may join unless it would be one more than there are slots") {
  AdapterSlots slots(lora(2));
  slots.join(1);
  CHECK(slots.may_join(2));
  slots.join(2);
  CHECK(slots.may_join(1));
  CHECK_FALSE(slots.may_join(3));
  CHECK(slots.may_join(kNoAdapter));
  slots.leave(1);
  CHECK(slots.may_join(3));
}

TEST_CASE("a worker is as near to a request as its adapter is to the device") {
  AdapterSlots slots(lora(2));
  touch(slots, 1);
  CHECK(slots.distance(1) == 0);
  CHECK(slots.distance(2) == 0.2);
  CHECK(slots.distance(kNoAdapter) == 0);
  slots.join(2);
  slots.join(3);
  CHECK(slots.distance(3) == 0);
  CHECK(slots.distance(1) == 1);
  slots.join(1);  // as a router books it, to wait for its turn
  CHECK(slots.distance(1) == 0.4);
}

struct Bench {
  explicit Bench(LoraConfig given, std::int64_t blocks = 100) {
    SchedulerOptions options;
    options.config.max_num_batched_tokens = 100;
    options.config.block_size = 4;
    options.config.kv_blocks = blocks;
    options.config.lora = given;
    options.every_token = true;
    options.adapter_load = {Duration(3), Duration(50)};
    scheduler.emplace(options);
  }
  void submit(std::uint32_t id, AdapterNumber adapter, std::int64_t prompt = 4,
              std::int64_t output = 2) {
    EngineRequest request;
    request.id = RequestId(id);
    request.prompt_tokens = prompt;
    request.max_output_tokens = output;
    request.adapter = adapter;
    scheduler->submit(request);
  }
  /// Does a step; says who entered the batch.
  std::set<std::uint32_t> step() {
    Outcome outcome;
    scheduler->begin_step(SimTime{}, outcome);
    scheduler->check_invariants();
    stall = scheduler->adapter_load().count();
    scheduler->end_step(SimTime{}, outcome);
    scheduler->check_invariants();
    std::set<std::uint32_t> entered;
    for (const Admission& admission : outcome.admitted) {
      entered.insert(admission.id.value());
    }
    return entered;
  }

  std::optional<Scheduler> scheduler;
  std::int64_t stall = 0;
};
using Ids = std::set<std::uint32_t>;

TEST_CASE("requests whose adapter is one too many are passed over and keep their places") {
  Bench b(lora(1));
  b.submit(1, 7);
  b.submit(2, 8);
  b.submit(3, 7);
  b.submit(4, kNoAdapter);
  b.submit(5, 9);
  CHECK(b.step() == Ids{1, 3, 4});
  CHECK(b.stall == 50);
  CHECK(b.step() == Ids{});
  CHECK(b.stall == 0);
  CHECK(b.step() == Ids{2});  // the first of those that waited
  b.step();
  CHECK(b.step() == Ids{5});
  CHECK(b.scheduler->adapter_use().uses == 4);
  CHECK(b.scheduler->adapter_use().storage_loads == 3);
  CHECK(b.scheduler->adapter_use().load_time == Duration(150));
}

TEST_CASE("a request of an adapter that runs enters though the queue waits for another") {
  Bench b(lora(1));
  b.submit(1, 7, 4, 9);
  b.submit(2, 8);
  CHECK(b.step() == Ids{1});
  CHECK_FALSE(b.scheduler->may_admit());
  b.submit(3, 8);
  CHECK_FALSE(b.scheduler->may_admit());
  b.submit(4, 7);
  CHECK(b.scheduler->may_admit());
  CHECK(b.step() == Ids{4});
}

TEST_CASE("who may join but does not fit blocks those behind it") {
  Bench b(lora(1), 6);
  b.submit(1, 7, 12, 2);  // 4 blocks to its end
  b.submit(2, 8, 4, 2);
  b.submit(3, 7, 16, 2);
  b.submit(4, 7, 4, 2);
  CHECK(b.step() == Ids{1});
  CHECK(b.step() == Ids{});
  CHECK(b.step() == Ids{2});
}

TEST_CASE("a step stalls less for an adapter that is in host memory") {
  Bench b(lora(1, 2));
  for (const AdapterNumber adapter : {1, 2, 1}) {
    b.submit(adapter, adapter, 4, 1);
    b.step();
  }
  CHECK(b.stall == 3);
  CHECK(b.scheduler->adapter_use().host_loads == 1);
}

TEST_CASE("a preempted request needs its adapter again") {
  Bench b(lora(2), 6);
  b.submit(1, 1, 9, 8);
  b.submit(2, 2, 9, 8);
  while (b.scheduler->has_work()) {
    b.step();
  }
  CHECK(b.scheduler->preemptions() > 0);
  CHECK(b.scheduler->adapter_use().uses == 2 + b.scheduler->preemptions());
  CHECK(b.scheduler->adapter_use().storage_loads == 2);  // it was still there
}

RouteRequest asking(std::uint32_t id, AdapterNumber adapter) {
  RouteRequest request;
  request.id = RequestId(id);
  request.prompt_tokens = 160;
  request.adapter = adapter;
  return request;
}

TEST_CASE("routers prefer the worker that has a request's adapter, as far as the load allows") {
  for (const RouterKind kind : {RouterKind::least_loaded, RouterKind::kv_aware}) {
    RouterOptions options;
    options.config.kind = kind;
    options.workers = 3;
    options.lora = lora(1);
    Router router(options);
    const auto route = [&](std::uint32_t id, AdapterNumber adapter) {
      return router.route(asking(id, adapter), SimTime{})->worker;
    };
    const WorkerId first = route(1, 1);
    const WorkerId second = route(2, 2);
    const WorkerId third = route(3, 3);
    CHECK(std::set<std::uint32_t>{first.value(), second.value(), third.value()}.size() == 3);
    for (std::uint32_t id = 1; id <= 3; ++id) {
      router.prefill_done(RequestId(id));
    }
    CHECK(route(4, 2) == second);
    CHECK(route(5, 3) == third);
    for (const std::uint32_t id : {1, 2, 3, 4, 5}) {
      router.finished(RequestId(id));
    }
    CHECK(route(6, 1) == first);  // where it was last
    router.finished(RequestId(6));
    router.set_available(first, false);
    CHECK(route(7, 1) != first);
  }
}

TEST_CASE("without a weight the adapter is no reason to choose a worker") {
  RouterOptions options;
  options.config.kind = RouterKind::least_loaded;
  options.config.adapter_affinity = 0;
  options.workers = 2;
  options.lora = lora(1);
  Router router(options);
  const WorkerId first = router.route(asking(1, 1), SimTime{})->worker;
  router.route(asking(2, kNoAdapter), SimTime{}).value();
  router.route(asking(3, kNoAdapter), SimTime{}).value();
  const RouteChoice fourth = router.route(asking(4, 1), SimTime{}).value();
  CHECK(router.active_requests(first) == 2);
  CHECK(fourth.cost == 1);
}

}  // namespace
