// Synthetic loads: arrivals that follow a process and a profile, sessions, mixes, empirical
// lengths.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>

#include "dyn/core/error.h"
#include "dyn/sim/workload.h"
#include "paths.h"

namespace dyn::sim {
namespace {

Traffic open_loop(double rate, std::int64_t requests) {
  Traffic traffic;
  traffic.isl = Tokens(100);
  traffic.osl = Tokens(10);
  traffic.rate = RequestsPerSec(rate);
  traffic.requests = requests;
  return traffic;
}

struct Gaps {
  double mean = 0;
  double cv = 0;
};

Gaps gaps_of(const Workload& workload) {
  double sum = 0, squares = 0;
  SimTime last{};
  for (const WorkloadRequest& request : workload.requests) {
    const double gap = to_seconds(request.arrival - last);
    last = request.arrival;
    sum += gap;
    squares += gap * gap;
  }
  const auto n = static_cast<double>(workload.requests.size());
  const double mean = sum / n;
  return {mean, std::sqrt(std::max(0.0, squares / n - mean * mean)) / mean};
}

/// Requests that arrive in [from, to) seconds.
double arrivals_in(const Workload& workload, double from, double to) {
  return static_cast<double>(
      std::count_if(workload.requests.begin(), workload.requests.end(), [&](const auto& request) {
        const double at = to_seconds(request.arrival.time_since_epoch());
        return at >= from && at < to;
      }));
}

TEST_CASE("the first requests of a closed loop are those of the whole, with what they share") {
  Traffic traffic;
  traffic.isl = Tokens(3000);
  traffic.osl = Tokens(10);
  traffic.length_spread = 0.5;
  traffic.shared_prefix = Tokens(1024);
  traffic.prefix_groups = 3;
  traffic.concurrency = 4;
  traffic.requests = 60;
  const Workload whole = make_synthetic(traffic, 7, 512);
  const Workload start = first_requests(whole, 25);
  REQUIRE(start.requests.size() == 25);
  CHECK(start.concurrency == 4);
  CHECK(start.blocks.size() < whole.blocks.size());
  CHECK(to_mooncake(whole).starts_with(to_mooncake(start)));
  for (std::uint32_t i = 0; i < 25; ++i) {
    const kvbm::PromptBlocks prompt = start.prompt_blocks(start.requests[i], 512);
    const kvbm::PromptBlocks same = whole.prompt_blocks(whole.requests[i], 512);
    CHECK(prompt.size() == same.size());
    CHECK(start.requests[i].segment_count == whole.requests[i].segment_count);
    CHECK(start.segments[start.requests[i].first_segment].end ==
          whole.segments[whole.requests[i].first_segment].end);
  }
}

TEST_CASE("arrivals have the rate and the coefficient of variation that were asked for") {
  Traffic traffic = open_loop(20, 20'000);
  // Five standard errors: of the mean cv / sqrt(n), and of the CV about cv * sqrt(cv^2 / 2n) more.
  for (const double cv : {0.3, 1.0, 3.0}) {
    traffic.arrivals = cv == 1 ? ArrivalProcess::poisson : ArrivalProcess::gamma;
    traffic.arrival_cv = cv;
    const Gaps gaps = gaps_of(make_synthetic(traffic, 5));
    INFO(cv);
    CHECK(gaps.mean == Approx(1.0 / 20).epsilon(5 * cv / std::sqrt(20'000.0)));
    CHECK(gaps.cv == Approx(cv).epsilon(0.02 + 0.03 * cv));
  }
  traffic.arrivals = ArrivalProcess::constant;
  const Gaps even = gaps_of(make_synthetic(traffic, 5));
  CHECK(even.mean == Approx(0.05));
  CHECK(even.cv < 1e-4);
}

TEST_CASE("a profile changes the rate over time and keeps its mean") {
  Traffic traffic = open_loop(50, 30'000);  // 600 s
  traffic.period = std::chrono::seconds(60);
  for (const RateProfile profile : {RateProfile::bursts, RateProfile::diurnal}) {
    for (const ArrivalProcess process : {ArrivalProcess::poisson, ArrivalProcess::constant}) {
      traffic.profile = profile;
      traffic.arrivals = process;
      traffic.peak = profile == RateProfile::bursts ? 4 : 1.8;
      const Workload workload = make_synthetic(traffic, 3);
      CHECK(gaps_of(workload).mean == Approx(1.0 / 50).epsilon(0.03));
      double peak = 0, low = 0;
      for (int period = 0; period < 9; ++period) {
        const double begin = 60 * period;
        if (profile == RateProfile::bursts) {
          peak += arrivals_in(workload, begin, begin + 6) / 6;
          low += arrivals_in(workload, begin + 6, begin + 60) / 54;
        } else {
          peak += arrivals_in(workload, begin + 27.5, begin + 32.5) / 5;
          low += arrivals_in(workload, begin, begin + 2.5) / 2.5;
        }
      }
      CHECK(peak / 9 == Approx(50 * traffic.peak).epsilon(0.05));
      const double expected = profile == RateProfile::bursts ? 50 * 0.6 / 0.9 : 50 * 0.2;
      CHECK(low / 9 == Approx(expected).epsilon(0.25));
    }
  }
}

TEST_CASE("a ramp climbs to its rate and stays there") {
  Traffic traffic = open_loop(40, 20'000);
  traffic.profile = RateProfile::ramp;
  traffic.period = std::chrono::seconds(300);
  traffic.peak = 4;
  const Workload workload = make_synthetic(traffic, 3);
  CHECK(arrivals_in(workload, 0, 15) / 15 == Approx(40 * (0.25 + 0.75 * 0.025)).epsilon(0.3));
  CHECK(arrivals_in(workload, 135, 165) / 30 == Approx(40 * 0.625).epsilon(0.15));
  CHECK(arrivals_in(workload, 300, 400) / 100 == Approx(40).epsilon(0.08));
  CHECK(arrivals_in(workload, 0, 300) == Approx(300 * 40 * 0.625).epsilon(0.05));
}

TEST_CASE("InferenceX's lengths lie between 80 and 100 % and its slots warm up") {
  Traffic traffic;
  traffic.isl = Tokens(1000);
  traffic.osl = Tokens(500);
  traffic.concurrency = 16;
  traffic.lengths = LengthDistribution::at_most;
  traffic.length_spread = 0.2;
  traffic.requests_per_slot = 100;
  traffic.warmup_per_slot = 2;
  const Workload workload = make_synthetic(traffic, 1);
  REQUIRE(workload.requests.size() == 16 * 102);
  CHECK(workload.warmup == 32);
  CHECK(workload.concurrency == 16);
  double sum = 0;
  std::int64_t least = 1000, most = 0;
  for (const WorkloadRequest& request : workload.requests) {
    sum += static_cast<double>(request.input_tokens);
    least = std::min(least, request.input_tokens);
    most = std::max(most, request.input_tokens);
    CHECK(request.output_tokens >= 400);
    CHECK(request.output_tokens <= 500);
  }
  CHECK(least >= 800);
  CHECK(most <= 1000);
  CHECK(least < 805);
  CHECK(most > 995);
  // Uniform over 201 values: a deviation of 58, five standard errors.
  CHECK(sum / 1632 == Approx(900).margin(5 * 58 / std::sqrt(1632.0)));
}

TEST_CASE("a later turn's prompt is the session so far and its own tokens") {
  Traffic traffic = open_loop(5, 400);
  traffic.shared_prefix = Tokens(64);
  traffic.turns = 4;
  traffic.turn_isl = Tokens(30);
  traffic.think_time = std::chrono::seconds(2);
  const Workload workload = make_synthetic(traffic, 1);
  REQUIRE(workload.requests.size() == 400);
  CHECK(workload.follow_ups.size() == 300);
  double think = 0;
  for (const FollowUp& follow : workload.follow_ups) {
    const WorkloadRequest& before = workload.requests[follow.before];
    const WorkloadRequest& after = workload.requests[follow.after];
    CHECK(follow.after == follow.before + 1);
    CHECK(workload.sessions[follow.before] == workload.sessions[follow.after]);
    CHECK(after.input_tokens == before.input_tokens + before.output_tokens + 30);
    CHECK(after.first_block == before.first_block);  // it begins with the same blocks
    CHECK(after.block_count >= before.block_count);
    think += to_seconds(follow.delay);
  }
  CHECK(think / 300 == Approx(2).epsilon(5 / std::sqrt(300.0)));
  const WorkloadRequest& one = workload.requests[0];
  const WorkloadRequest& other = workload.requests[4];
  CHECK(workload.blocks[one.first_block] == workload.blocks[other.first_block]);
  CHECK(workload.blocks[one.first_block + one.block_count - 1] !=
        workload.blocks[other.first_block + other.block_count - 1]);
}

TEST_CASE("geometric turns have the mean that was asked for") {
  Traffic traffic = open_loop(5, 20'000);
  traffic.isl = Tokens(5);
  traffic.osl = Tokens(1);
  traffic.turns = 5;
  traffic.turn_count = TurnCount::geometric;
  const Workload workload = make_synthetic(traffic, 1);
  const double sessions = workload.sessions.back() + 1;
  // Deviation sqrt(20) of a session; five standard errors.
  CHECK(20'000 / sessions == Approx(5).margin(5 * std::sqrt(20.0 / sessions)));
}

TEST_CASE("classes have their weights, lengths, priorities and targets") {
  Traffic traffic;
  traffic.rate = RequestsPerSec(10);
  traffic.requests = 10'000;
  TrafficClass chat;
  chat.name = "chat";
  chat.weight = 3;
  chat.isl = Tokens(50);
  chat.osl = Tokens(20);
  chat.priority = 2;
  chat.slo.ttft_p99 = std::chrono::milliseconds(200);
  TrafficClass batch = chat;
  batch.name = "batch";
  batch.weight = 1;
  batch.isl = Tokens(4000);
  batch.lengths = LengthDistribution::uniform;
  batch.length_spread = 0.5;
  batch.priority = 0;
  batch.slo = {};
  traffic.classes = {chat, batch};
  const Workload workload = make_synthetic(traffic, 1);
  REQUIRE(workload.classes.size() == 2);
  REQUIRE(workload.class_of.size() == 10'000);
  const auto chats = std::count(workload.class_of.begin(), workload.class_of.end(), 0);
  CHECK(static_cast<double>(chats) == Approx(7500).margin(5 * std::sqrt(10'000 * 0.75 * 0.25)));
  for (std::uint32_t i = 0; i < 10'000; ++i) {
    const bool is_chat = workload.class_of[i] == 0;
    CHECK((workload.requests[i].input_tokens == 50) == is_chat);
    CHECK(workload.priority_of(i) == (is_chat ? 2 : 0));
  }
  CHECK(workload.classes[0].slo.ttft_p99 == std::chrono::milliseconds(200));
  // Another class beside it does not change a class's own lengths.
  traffic.classes = {batch};
  const Workload alone = make_synthetic(traffic, 1);
  std::vector<std::int64_t> mixed;
  for (std::uint32_t i = 0; i < 10'000; ++i) {
    if (workload.class_of[i] == 1) {
      mixed.push_back(workload.requests[i].input_tokens);
    }
  }
  for (std::size_t i = 0; i < mixed.size(); ++i) {
    CHECK(alone.requests[i].input_tokens == mixed[i]);
  }
}

TEST_CASE("empirical lengths come in the pairs and shares of their table") {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / "dyn_empirical_lengths";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "table.csv")
      << "input_tokens,output_tokens,count\n10,1,6\n20,2,3\n30,3,1\n";
  std::ofstream(folder / "bad.csv") << "input_tokens,output_tokens\n10,0\n";
  Traffic traffic = open_loop(5, 10'000);
  traffic.isl.reset();
  traffic.osl.reset();
  traffic.lengths = LengthDistribution::empirical;
  traffic.lengths_from = "table.csv";
  const Workload workload = make_synthetic(traffic, 1, 16, folder / "recipe.yaml");
  std::map<std::int64_t, int> seen;
  for (const WorkloadRequest& request : workload.requests) {
    CHECK(request.input_tokens == 10 * request.output_tokens);
    ++seen[request.output_tokens];
  }
  CHECK(seen[1] == Approx(6000).margin(5 * std::sqrt(2400.0)));
  CHECK(seen[2] == Approx(3000).margin(5 * std::sqrt(2100.0)));
  CHECK(seen[3] == Approx(1000).margin(5 * std::sqrt(900.0)));
  traffic.lengths_from = "bad.csv";
  CHECK_THROWS_WITH(make_synthetic(traffic, 1, 16, folder / "recipe.yaml"),
                    Catch::Matchers::Contains("bad.csv:2:4: error: /output_tokens"));
  std::filesystem::remove_all(folder);
}

TEST_CASE("lengths are drawn from a trace and from Azure's tables alike") {
  if (!dyn::test::have_reference_data()) {
    WARN("skipped: the reference data is not at hand");
    return;
  }
  Traffic traffic = open_loop(5, 5'000);
  traffic.isl.reset();
  traffic.osl.reset();
  traffic.lengths = LengthDistribution::empirical;
  // Means as published for the traces.
  for (const auto& [name, mean] :
       {std::pair{"splitwise_conv.csv", 1154.7}, std::pair{"splitwise_code.csv", 2047.8},
        std::pair{"arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv", 2588.0}}) {
    traffic.lengths_from = dyn::test::reference_data(std::string("traces/") + name).string();
    double sum = 0;
    for (const WorkloadRequest& request : make_synthetic(traffic, 1).requests) {
      sum += static_cast<double>(request.input_tokens);
    }
    INFO(name);
    CHECK(sum / 5000 == Approx(mean).epsilon(0.08));
  }
}

TEST_CASE("the Azure traces have their published rows, rates and burstiness") {
  if (!dyn::test::have_reference_data()) {
    WARN("skipped: the reference data is not at hand");
    return;
  }
  Traffic traffic;
  traffic.spread_ticks = false;
  const auto load = [&](const char* name) {
    return load_trace(dyn::test::reference_data(std::string("traces/") + name).string(), traffic,
                      1);
  };
  const Workload chat = load("splitwise_conv.csv");
  CHECK(chat.requests.size() == 19'366);
  CHECK(1 / gaps_of(chat).mean == Approx(5.53).epsilon(0.01));
  CHECK(gaps_of(chat).cv == Approx(1.09).epsilon(0.02));
  const Workload code = load("splitwise_code.csv");
  CHECK(code.requests.size() == 8'819);
  CHECK(1 / gaps_of(code).mean == Approx(2.57).epsilon(0.01));
  CHECK(gaps_of(code).cv == Approx(13.2).epsilon(0.02));
}

}  // namespace
}  // namespace dyn::sim
