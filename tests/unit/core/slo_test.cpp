#include "dyn/core/slo.h"

#include <catch2/catch.hpp>
#include <chrono>

using namespace std::chrono_literals;

TEST_CASE("the targets that are set come in declaration order with their metric and statistic") {
  dyn::Slo slo;
  CHECK(slo.empty());
  CHECK(slo.targets().empty());
  slo.e2e_p90 = 9s;
  slo.ttft_p99 = 2s;
  slo.itl_mean = 30ms;
  CHECK_FALSE(slo.empty());
  const auto targets = slo.targets();
  REQUIRE(targets.size() == 3);
  CHECK(targets[0].name == "ttft_p99");
  CHECK(targets[0].metric == "time_to_first_token");
  CHECK(targets[0].statistic == "p99");
  CHECK(targets[0].limit == 2s);
  CHECK(targets[1].name == "itl_mean");
  CHECK(targets[1].metric == "inter_token_latency");
  CHECK(targets[1].statistic == "avg");
  CHECK(targets[2].name == "e2e_p90");
  CHECK(targets[2].metric == "request_latency");
}
