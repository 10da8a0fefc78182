#include "dyn/engine/network.h"

#include <algorithm>
#include <catch2/catch.hpp>

namespace dyn::engine {
namespace {

using namespace std::chrono_literals;
using namespace literals;

SimTime at(Duration d) {
  return SimTime(d);
}

Profile hopper() {
  Profile profile;
  profile.device.gpus_per_node = 8;
  profile.device.intra_node = 400_GBps;
  profile.device.inter_node = 50_GBps;
  profile.device.host_link = 64_GBps;
  profile.intra_node_latency = 5us;
  profile.inter_node_latency = 10us;
  return profile;
}

Network make(const NetworkSpec& spec = {}) {
  return {resolve_network(spec, hopper()), 7};
}

std::vector<Network::Arrived> finish(Network& network) {
  std::vector<Network::Arrived> arrived;
  while (const auto next = network.next_event()) {
    network.advance(*next, arrived);
  }
  return arrived;
}

TEST_CASE("what a network does not say is what the GPU and its node have") {
  const NetworkSpec spec = resolve_network({}, hopper());
  CHECK(spec.gpus_per_node == 8);
  CHECK(spec.intra_node == 400_GBps);
  CHECK(spec.disk_read == 7_GBps);
  Profile measured = hopper();
  measured.storage.push_back({"disk", 3_GBps, 2_GBps, 80us, Provenance::measured, {}});
  CHECK(resolve_network({}, measured).disk_write == 2_GBps);
  NetworkSpec given;
  given.inter_node = 25_GBps;
  CHECK(resolve_network(given, hopper()).inter_node == 25_GBps);
}

TEST_CASE("sites fill nodes in order and do not straddle two") {
  Network network = make();
  CHECK(network.node_of(network.add_site(4)) == 0);
  CHECK(network.node_of(network.add_site(2)) == 0);
  CHECK(network.node_of(network.add_site(4)) == 1);
  CHECK(network.node_of(network.add_site(4)) == 1);
  CHECK(network.node_of(network.add_site(16)) == 2);
  CHECK(network.node_of(network.add_site(1)) == 4);
}

TEST_CASE("the path of a transfer is that of its ends") {
  Network network = make();
  const Endpoint a{Place::gpus, network.add_site(4)};
  const Endpoint b{Place::gpus, network.add_site(2)};
  const Endpoint c{Place::gpus, network.add_site(8)};
  const Endpoint host{Place::host, a.site};
  const Endpoint far_host{Place::host, c.site};
  const Endpoint disk{Place::disk, a.site};
  const Endpoint store{Place::store, {}};
  const Bytes bytes = 8_GB;
  CHECK(network.alone(a, b, bytes) == 10ms + 5us);        // two GPUs at 400 GB/s
  CHECK(network.alone(a, c, bytes) == 40ms + 10us);       // four cards at 50 GB/s
  CHECK(network.alone(a, host, bytes) == 31250us + 5us);  // four PCIe links at 64 GB/s
  CHECK(network.alone(far_host, a, bytes) == 40ms + 10us);
  CHECK(network.alone(disk, a, 7_GB) == 1s + 105us);
  CHECK(network.alone(store, a, 25_GB) == 1s + 20ms + 10us);
  CHECK(network.alone(a, a, bytes) == 5us);
}

TEST_CASE("transfers to one worker share its port and say whose they are") {
  Network network = make();
  const Endpoint a{Place::gpus, network.add_site(1)};
  const Endpoint b{Place::gpus, network.add_site(1)};
  const Endpoint c{Place::gpus, network.add_site(1)};
  network.start(a, c, 4_GB, 11, at(0ms));
  network.start(b, c, 8_GB, 12, at(0ms));
  const auto arrived = finish(network);
  REQUIRE(arrived.size() == 2);
  CHECK(arrived[0].tag == 11);
  CHECK(arrived[0].at == at(20ms + 5us));
  CHECK(arrived[1].tag == 12);
  CHECK(arrived[1].at == at(30ms + 5us));
  CHECK(network.carried(LinkKind::intra_node, c.site) == 12_GB);
  CHECK(network.transfers() == 0);
}

TEST_CASE("a site with a port of its own has no node") {
  Network network = make();
  const Endpoint a{Place::gpus, network.add_site(8, 1_GBps)};
  const Endpoint b{Place::gpus, network.add_site(8, 1_GBps)};
  CHECK(network.alone(a, b, 1_GB) == 1s + 5us);
  const Endpoint c{Place::gpus, network.add_site(8, BytesPerSec(0))};
  const Endpoint d{Place::gpus, network.add_site(8, BytesPerSec(0))};
  CHECK(network.alone(c, d, 1_GB) == 5us);
}

NetworkSpec two_leaves(int spines) {
  NetworkSpec spec;
  spec.fabric = FabricKind::leaf_spine;
  spec.gpus_per_node = 4;
  spec.nodes_per_leaf = 1;
  spec.spines = spines;
  spec.inter_node_latency = 0us;
  return spec;
}

TEST_CASE("flows that hash to one spine share its link, those that do not have one each") {
  // Four cards of 50 GB/s under four uplinks of 50 GB/s: a flow with j on its spine gets 50/j.
  Network network = make(two_leaves(4));
  const Endpoint a{Place::gpus, network.add_site(4)};
  const Endpoint b{Place::gpus, network.add_site(4)};
  std::vector<Duration> times;
  for (int i = 0; i < 200; ++i) {
    std::vector<Network::Arrived> arrived;
    const SimTime start = at(i * 1s);
    network.start(a, b, 20_GB, 0, start);
    while (arrived.empty()) {
      network.advance(*network.next_event(), arrived);
    }
    times.push_back(std::chrono::floor<std::chrono::milliseconds>(arrived[0].at - start));
  }
  // All four differ with probability 4!/4^4; all are the same with 4/4^4. The largest group of j
  // takes j * 100 ms.
  const auto count = [&](Duration time) { return std::count(times.begin(), times.end(), time); };
  CHECK(count(100ms) + count(200ms) + count(300ms) + count(400ms) == 200);
  CHECK(count(100ms) == Approx(200 * 24.0 / 256).margin(15));
  CHECK(count(200ms) == Approx(200 * 180.0 / 256).margin(25));
  CHECK(count(300ms) == Approx(200 * 48.0 / 256).margin(20));
}

TEST_CASE("under one leaf no uplink is crossed, and oversubscription narrows those between") {
  NetworkSpec spec = two_leaves(1);
  spec.oversubscription = 4;
  Network network = make(spec);
  const Endpoint a{Place::gpus, network.add_site(4)};
  const Endpoint b{Place::gpus, network.add_site(4)};
  CHECK(network.alone(a, b, 10_GB) == 50ms);  // each of four flows as if it were alone
  network.start(a, b, 10_GB, 0, at(0ms));
  CHECK(finish(network)[0].at == at(200ms));  // 50 GB/s for all four
  spec.nodes_per_leaf = 2;
  Network together = make(spec);
  const Endpoint c{Place::gpus, together.add_site(4)};
  const Endpoint d{Place::gpus, together.add_site(4)};
  together.start(c, d, 10_GB, 0, at(0ms));
  CHECK(finish(together)[0].at == at(50ms));
}

TEST_CASE("a degraded link is slower, one that is down holds transfers, and both recover") {
  Network network = make();
  const Endpoint a{Place::gpus, network.add_site(1)};
  const Endpoint b{Place::gpus, network.add_site(1)};
  network.start(a, b, 4_GB, 0, at(0ms));
  network.degrade(LinkKind::intra_node, b.site, 0.5, at(5ms));
  network.degrade(LinkKind::intra_node, b.site, 0, at(10ms));  // 2 and 1 GB through
  CHECK_FALSE(network.next_event());
  network.degrade(LinkKind::intra_node, b.site, 1, at(1s));
  CHECK(finish(network)[0].at == at(1s + 2500us + 5us));
}

TEST_CASE("a transfer given up frees its links at once") {
  Network network = make(two_leaves(4));
  const Endpoint a{Place::gpus, network.add_site(4)};
  const Endpoint b{Place::gpus, network.add_site(4)};
  const TransferId first = network.start(a, b, 4_GB, 1, at(0ms));
  network.cancel(first, at(1ms));
  CHECK(network.transfers() == 0);
  CHECK_FALSE(network.next_event());
}

}  // namespace
}  // namespace dyn::engine
