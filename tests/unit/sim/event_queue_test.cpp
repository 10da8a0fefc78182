#include "dyn/sim/event_queue.h"

#include <catch2/catch.hpp>

namespace dyn::sim {
namespace {

SimTime at(std::int64_t nanos) {
  return SimTime(Duration(nanos));
}

TEST_CASE("events come out by time, then phase, then lane, then order of pushing") {
  EventQueue queue;
  queue.push(at(5), Phase::engine, EventKind::engine_due, 1, 0, 7);
  queue.push(at(5), Phase::engine, EventKind::engine_due, 2, 0, 3);
  queue.push(at(5), Phase::arrival, EventKind::send, 3);
  queue.push(at(5), Phase::arrival, EventKind::send, 4);
  queue.push(at(5), Phase::transfer, EventKind::network_due, 5);
  queue.push(at(4), Phase::engine, EventKind::engine_due, 6);
  std::vector<std::uint32_t> order;
  while (!queue.empty()) {
    order.push_back(queue.pop().target);
  }
  CHECK(order == std::vector<std::uint32_t>{6, 5, 3, 4, 2, 1});
  CHECK(queue.popped() == 6);
  CHECK(queue.now() == at(5));
}

TEST_CASE("an event carries what it was pushed with") {
  EventQueue queue;
  queue.push(at(9), Phase::engine, EventKind::engine_due, 41, 17, 2);
  CHECK(queue.next_time() == at(9));
  CHECK(queue.size() == 1);
  const Event event = queue.pop();
  CHECK(event.at == at(9));
  CHECK(event.kind == EventKind::engine_due);
  CHECK(event.epoch == 17);
  CHECK(event.target == 41);
}

TEST_CASE("the fingerprint tells apart what happened, when and in which order") {
  const auto run = [](std::initializer_list<std::pair<std::int64_t, std::uint32_t>> events) {
    EventQueue queue;
    for (const auto& [nanos, target] : events) {
      queue.push(at(nanos), Phase::arrival, EventKind::send, target);
    }
    while (!queue.empty()) {
      queue.pop();
    }
    return queue.fingerprint();
  };
  CHECK(run({{1, 1}, {2, 2}}) == run({{1, 1}, {2, 2}}));
  CHECK(run({{1, 1}, {2, 2}}) != run({{1, 2}, {2, 1}}));
  CHECK(run({{1, 1}, {2, 2}}) != run({{1, 1}, {3, 2}}));
  CHECK(run({{1, 1}, {1, 2}}) != run({{1, 2}, {1, 1}}));
  CHECK(run({{1, 1}}) != run({{1, 1}, {1, 1}}));
}

}  // namespace
}  // namespace dyn::sim
