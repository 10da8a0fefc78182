// Max-min fair sharing against closed forms.
#include "dyn/engine/flow_network.h"

#include <catch2/catch.hpp>

namespace dyn::engine {
namespace {

using namespace std::chrono_literals;
using namespace literals;

SimTime at(Duration d) {
  return SimTime(d);
}

struct Net {
  FlowNetwork flows;
  std::vector<FlowNetwork::Landed> landed;

  std::vector<LinkId> links(std::initializer_list<double> gigabytes) {
    std::vector<LinkId> out;
    for (const double rate : gigabytes) {
      out.push_back(flows.add_link(BytesPerSec(rate * 1e9)));
    }
    return out;
  }
  FlowId start(std::vector<LinkId> path, Bytes bytes, Duration now = 0ns, Duration latency = 0ns) {
    return flows.start(path, bytes, latency, at(now));
  }
  /// Runs until nothing moves; when each flow landed, by id.
  std::vector<SimTime> finish() {
    std::vector<SimTime> when;
    while (const auto next = flows.next_event()) {
      flows.advance(*next, landed);
    }
    for (const auto& [flow, time] : landed) {
      when.resize(std::max<std::size_t>(when.size(), flow.value() + 1));
      when[flow.value()] = time;
    }
    return when;
  }
};

TEST_CASE("a flow alone takes its bytes over the slowest link, and lands a latency later") {
  Net net;
  const auto link = net.links({4, 1, 2});
  net.start(link, 1_GB, 5ms, 3ms);
  CHECK(net.finish() == std::vector{at(1s + 8ms)});
  CHECK(net.flows.carried(link[0]) == 1_GB);
  CHECK(net.flows.flows() == 0);
}

TEST_CASE("flows of one bottleneck get equal parts, and more when others are through") {
  Net net;
  const auto link = net.links({6});
  net.start(link, 1_GB);
  net.start(link, 2_GB);
  net.start(link, 3_GB);
  // 2 GB/s each until 0.5 s, 3 GB/s each until 5/6 s (rounded up), then 6 GB/s.
  CHECK(net.finish() == std::vector{at(500ms), at(Duration(833'333'334)), at(1s + 1ns)});
}

TEST_CASE("in a parking lot the flow over every link is held to the tightest one's share") {
  Net net;
  const auto link = net.links({1, 1, 1});
  const FlowId longest = net.start(link, 1_GB);
  std::vector<FlowId> local;
  for (const LinkId each : link) {
    local.push_back(net.start({each}, 1_GB));
  }
  CHECK(net.flows.rate(longest) == 0.5_GBps);
  for (const FlowId flow : local) {
    CHECK(net.flows.rate(flow) == 0.5_GBps);
  }
  // Two more on the last link hold the long one to a quarter; the others get what it leaves.
  net.start({link[2]}, 1_GB);
  net.start({link[2]}, 1_GB);
  CHECK(net.flows.rate(longest) == 0.25_GBps);
  CHECK(net.flows.rate(local[0]) == 0.75_GBps);
  CHECK(net.flows.rate(local[2]) == 0.25_GBps);
}

TEST_CASE("in a star each flow is limited by the busier of its two ports") {
  Net net;
  const auto out = net.links({10, 10, 10});
  const auto in = net.links({10, 10, 10});
  const FlowId a = net.start({out[0], in[2]}, 1_GB);
  const FlowId b = net.start({out[1], in[2]}, 1_GB);
  const FlowId c = net.start({out[0], in[1]}, 1_GB);
  const FlowId d = net.start({out[0], in[0]}, 1_GB);
  CHECK(net.flows.rate(a).count() == Approx(10e9 / 3));
  CHECK(net.flows.rate(c).count() == Approx(10e9 / 3));
  CHECK(net.flows.rate(d).count() == Approx(10e9 / 3));
  CHECK(net.flows.rate(b).count() == Approx(10e9 * 2 / 3));  // what a leaves of in[2]
}

TEST_CASE("a link that is down holds its flows until it is up again") {
  Net net;
  const auto link = net.links({1, 1});
  const FlowId held = net.start(link, 1_GB);
  const FlowId other = net.start({link[1]}, 1_GB);
  net.flows.set_capacity(link[0], BytesPerSec(0), at(200ms));  // 0.1 GB of each are through
  CHECK(net.flows.rate(held) == BytesPerSec(0));
  CHECK(net.flows.rate(other) == 1_GBps);
  std::vector<FlowNetwork::Landed> landed;
  net.flows.advance(at(1100ms), landed);
  CHECK(landed.size() == 1);
  CHECK_FALSE(net.flows.next_event());
  net.flows.set_capacity(link[0], 1_GBps, at(2s));
  CHECK(net.finish()[held.value()] == at(2900ms));
}

TEST_CASE("a cancelled flow leaves its share to the others and what it moved stays counted") {
  Net net;
  const auto link = net.links({2});
  const FlowId first = net.start(link, 1_GB);
  const FlowId second = net.start(link, 1_GB);
  net.flows.cancel(first, at(400ms));
  CHECK(net.flows.rate(second) == 2_GBps);
  CHECK(net.finish()[second.value()] == at(700ms));
  CHECK(net.flows.carried(link[0]) == Bytes(1'400'000'000));
}

TEST_CASE("flows without bytes or links take their latency alone") {
  Net net;
  const auto link = net.links({1});
  net.start(link, Bytes(0), 1ms, 2ms);
  net.start({}, 5_GB, 1ms, 3ms);
  CHECK(net.finish() == std::vector{at(3ms), at(4ms)});
}

TEST_CASE("what landed before a call is handed out by the next advance, once") {
  Net net;
  const auto link = net.links({1});
  const FlowId first = net.start(link, 1_GB);
  net.start(link, 3_GB, 2s);  // the first has long landed
  std::vector<FlowNetwork::Landed> landed;
  CHECK(net.flows.next_event() == at(2s));
  net.flows.advance(at(2s), landed);
  REQUIRE(landed.size() == 1);
  CHECK(landed[0].flow == first);
  CHECK(landed[0].at == at(1s));
  net.flows.advance(at(3s), landed);
  CHECK(landed.size() == 1);
}

}  // namespace
}  // namespace dyn::engine
