#include "dyn/policy/router_queue.h"

#include <catch2/catch.hpp>

namespace dyn::policy {
namespace {

using namespace std::chrono_literals;

std::vector<std::uint32_t> drain(RouterQueue& queue) {
  std::vector<std::uint32_t> out;
  while (const auto front = queue.front()) {
    out.push_back(front->value());
    queue.pop();
  }
  return out;
}

void fill(RouterQueue& queue) {
  queue.push({RequestId(1), SimTime(1s), 0, SimTime(9s)});
  queue.push({RequestId(2), SimTime(2s), 5, SimTime(8s)});
  queue.push({RequestId(3), SimTime(3s), 5, SimTime(4s)});
}

TEST_CASE("requests leave as they came, by priority or by deadline") {
  RouterQueue first(QueueOrder::first_come, 10);
  fill(first);
  CHECK(drain(first) == std::vector<std::uint32_t>{1, 2, 3});
  RouterQueue priority(QueueOrder::priority, 10);
  fill(priority);
  CHECK(drain(priority) == std::vector<std::uint32_t>{2, 3, 1});
  RouterQueue deadline(QueueOrder::deadline, 10);
  fill(deadline);
  CHECK(drain(deadline) == std::vector<std::uint32_t>{3, 2, 1});
}

TEST_CASE("a request is due when its first token is by the SLO") {
  Slo slo;
  CHECK(held_request(RequestId(1), SimTime(2s), 3, slo).deadline == SimTime::max());
  slo.itl_p99 = 1s;
  slo.ttft_p90 = 4s;
  const HeldRequest held = held_request(RequestId(1), SimTime(2s), 3, slo);
  CHECK(held.deadline == SimTime(6s));
  CHECK(held.since == SimTime(2s));
  CHECK(held.priority == 3);
}

TEST_CASE("who goes back into the queue has the place of when it came") {
  RouterQueue queue(QueueOrder::first_come, 10);
  fill(queue);
  queue.pop();
  queue.push({RequestId(1), SimTime(1s), 0, SimTime(9s)});
  CHECK(drain(queue) == std::vector<std::uint32_t>{1, 2, 3});
}

TEST_CASE("a full queue takes nobody until somebody leaves") {
  RouterQueue queue(QueueOrder::first_come, 2);
  CHECK(queue.push({RequestId(1), SimTime(1s)}));
  CHECK(queue.push({RequestId(2), SimTime(1s)}));
  CHECK_FALSE(queue.push({RequestId(3), SimTime(1s)}));
  CHECK(queue.remove(RequestId(1)));
  CHECK_FALSE(queue.remove(RequestId(1)));
  CHECK(queue.push({RequestId(3), SimTime(1s)}));
  CHECK(drain(queue) == std::vector<std::uint32_t>{2, 3});
}

}  // namespace
}  // namespace dyn::policy
