#include "dyn/engine/kv_link.h"

#include <catch2/catch.hpp>

namespace {

using namespace dyn;
using namespace dyn::literals;
using namespace std::chrono_literals;

SimTime at(Duration d) {
  return SimTime(d);
}

TEST_CASE("transfers wait for both ports and take latency plus bytes over bandwidth") {
  TransferSpec spec;
  spec.bandwidth = 1_GBps;
  spec.latency = 1ms;
  spec.bytes_per_token = 1000_B;
  engine::KvLink link(spec, 2, 2);
  // 1000 tokens are 1 MB, which takes 1 ms at 1 GB/s.
  const auto first = link.reserve(WorkerId(0), WorkerId(0), 1000, at(5ms));
  CHECK(first.begins == at(5ms));
  CHECK(first.ends == at(7ms));
  const auto same_source = link.reserve(WorkerId(0), WorkerId(1), 2000, at(5ms));
  CHECK(same_source.begins == at(7ms));
  CHECK(same_source.ends == at(10ms));
  const auto same_destination = link.reserve(WorkerId(1), WorkerId(0), 1000, at(6ms));
  CHECK(same_destination.begins == at(7ms));
  CHECK(same_destination.ends == at(9ms));
  const auto both_busy = link.reserve(WorkerId(1), WorkerId(1), 0, at(8ms));
  CHECK(both_busy.begins == at(10ms));
  CHECK(both_busy.ends == at(11ms));
}

TEST_CASE("without a bandwidth only the latency counts") {
  TransferSpec spec;
  spec.latency = 2ms;
  spec.bytes_per_token = 1000_B;
  engine::KvLink link(spec, 1, 1);
  CHECK(link.reserve(WorkerId(0), WorkerId(0), 1'000'000, at(0ms)).ends == at(2ms));
}

}  // namespace
