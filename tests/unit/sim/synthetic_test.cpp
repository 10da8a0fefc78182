#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "dyn/core/error.h"
#include "dyn/sim/workload.h"

namespace dyn::sim {
namespace {

Traffic load(std::int64_t isl, std::int64_t osl, std::int64_t requests) {
  Traffic traffic;
  traffic.isl = Tokens(isl);
  traffic.osl = Tokens(osl);
  traffic.concurrency = 8;
  traffic.requests = requests;
  return traffic;
}

struct Moments {
  double mean = 0;
  double deviation = 0;
};

Moments input_moments(const Workload& workload) {
  const auto n = static_cast<double>(workload.requests.size());
  double sum = 0;
  double squares = 0;
  for (const WorkloadRequest& request : workload.requests) {
    const auto x = static_cast<double>(request.input_tokens);
    sum += x;
    squares += x * x;
  }
  return {sum / n, std::sqrt(squares / n - sum / n * (sum / n))};
}

TEST_CASE("a closed loop has fixed lengths and no arrivals unless asked otherwise") {
  const Workload workload = make_synthetic(load(1024, 128, 50), 1);
  CHECK(workload.concurrency == 8);
  REQUIRE(workload.requests.size() == 50);
  for (const WorkloadRequest& request : workload.requests) {
    CHECK(request.input_tokens == 1024);
    CHECK(request.output_tokens == 128);
    CHECK(request.arrival == SimTime{});
    CHECK(workload.prompt_blocks(request, 16).size() == 64);
  }
}

TEST_CASE("every length distribution keeps the mean that was asked for") {
  Traffic traffic = load(4000, 500, 20'000);
  struct Case {
    LengthDistribution kind;
    double spread;
    double deviation;
  };
  for (const Case& c : {Case{LengthDistribution::uniform, 0.2, 4000 * 0.2 / std::sqrt(3.0)},
                        Case{LengthDistribution::normal, 0.25, 1000},
                        Case{LengthDistribution::lognormal, 0.5, 2000},
                        Case{LengthDistribution::uniform, 2.0, 3999 / std::sqrt(3.0)}}) {
    traffic.lengths = c.kind;
    traffic.length_spread = c.spread;
    const Moments moments = input_moments(make_synthetic(traffic, 7));
    CHECK(moments.mean == Approx(4000).epsilon(0.015));
    CHECK(moments.deviation == Approx(c.deviation).epsilon(0.05));
  }
  traffic.lengths = LengthDistribution::normal;
  traffic.length_spread = 1.5;
  CHECK(input_moments(make_synthetic(traffic, 7)).mean == Approx(4000).epsilon(0.02));
  traffic.isl = Tokens(1);
  CHECK(input_moments(make_synthetic(traffic, 7)).mean == 1);
}

TEST_CASE("Poisson arrivals come at the rate that was asked for") {
  Traffic traffic = load(100, 10, 20'000);
  traffic.concurrency.reset();
  traffic.rate = RequestsPerSec(50);
  const Workload workload = make_synthetic(traffic, 3);
  CHECK(workload.concurrency == 0);
  const double seconds = to_seconds(workload.requests.back().arrival.time_since_epoch());
  CHECK(20'000 / seconds == Approx(50).epsilon(0.03));
  double squares = 0;  // exponential gaps: deviation equals mean
  for (std::size_t i = 1; i < workload.requests.size(); ++i) {
    const double gap = to_seconds(workload.requests[i].arrival - workload.requests[i - 1].arrival);
    CHECK(gap >= 0);
    squares += gap * gap;
  }
  CHECK(squares / 20'000 == Approx(2.0 / (50 * 50)).epsilon(0.1));
}

TEST_CASE("prompts of a group share its prefix and nothing else") {
  Traffic traffic = load(3000, 10, 60);
  traffic.shared_prefix = Tokens(1000);
  traffic.prefix_groups = 3;
  const Workload workload = make_synthetic(traffic, 5);
  std::vector<std::uint64_t> firsts;
  std::vector<std::uint64_t> afters;
  for (const WorkloadRequest& request : workload.requests) {
    const kvbm::PromptBlocks blocks = workload.prompt_blocks(request, 16);
    REQUIRE(blocks.size() == 3000 / 16);
    firsts.push_back(static_cast<std::uint64_t>(blocks[1000 / 16 - 1]));
    afters.push_back(static_cast<std::uint64_t>(blocks[1000 / 16]));
  }
  const auto distinct = [](std::vector<std::uint64_t> values) {
    std::sort(values.begin(), values.end());
    return std::unique(values.begin(), values.end()) - values.begin();
  };
  CHECK(distinct(firsts) == 3);
  CHECK(distinct(afters) == 60);
}

TEST_CASE("equal seeds give equal loads and causes are independent streams") {
  Traffic traffic = load(3000, 100, 100);
  traffic.lengths = LengthDistribution::lognormal;
  traffic.length_spread = 0.5;
  const Workload a = make_synthetic(traffic, 5);
  CHECK(a.blocks == make_synthetic(traffic, 5).blocks);
  CHECK(a.requests[9].input_tokens != make_synthetic(traffic, 6).requests[9].input_tokens);
  traffic.concurrency.reset();
  traffic.rate = RequestsPerSec(1);
  const Workload b = make_synthetic(traffic, 5);
  for (std::size_t i = 0; i < 100; ++i) {
    CHECK(a.requests[i].input_tokens == b.requests[i].input_tokens);
    CHECK(a.requests[i].output_tokens == b.requests[i].output_tokens);
  }
}

TEST_CASE("a load that cannot be is refused") {
  const auto refused = [](auto change) {
    Traffic traffic = load(1000, 10, 10);
    change(traffic);
    CHECK_THROWS_AS(make_synthetic(traffic, 1), Error);
  };
  refused([](Traffic& t) { t.isl.reset(); });
  refused([](Traffic& t) { t.rate = RequestsPerSec(1); });
  refused([](Traffic& t) { t.concurrency.reset(); });
  refused([](Traffic& t) { t.osl = Tokens(0); });
  refused([](Traffic& t) { t.requests = 0; });
  refused([](Traffic& t) { t.concurrency = 0; });
  refused([](Traffic& t) { t.shared_prefix = Tokens(1000); });
}

TEST_CASE("a recipe's traffic becomes its trace, found beside the recipe, or its load") {
  const std::filesystem::path folder = std::filesystem::path(DYN_BINARY_DIR) / "sim_recipe_traffic";
  std::filesystem::create_directories(folder);
  const Workload made = make_conversation(20, std::chrono::seconds(10), 1);
  std::ofstream(folder / "trace.jsonl") << to_mooncake(made);
  Recipe recipe;
  recipe.model = "Qwen/Qwen3-8B";
  recipe.traffic.trace = "trace.jsonl";
  recipe.traffic.limit = 12;
  CHECK(make_workload(recipe, (folder / "recipe.yaml").string()).requests.size() == 12);
  recipe.traffic = load(1000, 10, 30);
  recipe.engine.block_size = 64;
  const Workload workload = make_workload(recipe, (folder / "recipe.yaml").string());
  CHECK(workload.requests.size() == 30);
  CHECK(workload.block_tokens % 64 == 0);
}

}  // namespace
}  // namespace dyn::sim
