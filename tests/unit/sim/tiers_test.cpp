// Tiers below the device in whole simulations.
#include <catch2/catch.hpp>

#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/perf/builtin_profiles.h"
#include "figures.h"
#include "fleets.h"

namespace dyn::sim {
namespace {

using namespace test;

constexpr std::int64_t kBlockBytes = 131'072 * 16;  ///< Llama-3.1-8B, bf16

/// Workers with `blocks` blocks of 16 tokens, 20 us a prompt token.
Fleet fleet(std::int64_t blocks, int replicas = 1) {
  LinearTimer::Times times;
  times.base = ms(5);
  times.per_prefill = us(20);
  Fleet out = aggregated(replicas, times);
  out.plan.model = find_model("meta-llama/Llama-3.1-8B-Instruct");
  out.plan.profile = perf::builtin_profile("h100");
  out.plan.pools[0].config.kv_blocks = blocks;
  return out;
}

KvTier tier(std::int64_t blocks, TierWrite write = TierWrite::through) {
  KvTier out;
  out.capacity = Bytes(blocks * kBlockBytes);
  out.write = write;
  return out;
}

/// Prompts of `tokens` tokens, by families, one every second; those of a family are the same.
Workload families(const std::vector<int>& order, std::int64_t tokens = 2048) {
  Workload out;
  out.block_tokens = 16;
  for (std::size_t i = 0; i < order.size(); ++i) {
    WorkloadRequest request;
    request.arrival = at(ms(1000 * static_cast<std::int64_t>(i)));
    request.input_tokens = tokens;
    request.output_tokens = 4;
    request.first_block = static_cast<std::uint32_t>(out.blocks.size());
    request.block_count = static_cast<std::uint32_t>(tokens / 16);
    kvbm::BlockHash hash = kvbm::chain_root("family");
    for (std::int64_t b = 0; b < tokens / 16; ++b) {
      hash = kvbm::chain(
          hash, static_cast<std::uint64_t>(order[i]) * 1000 + static_cast<std::uint64_t>(b));
      out.blocks.push_back(hash);
    }
    out.requests.push_back(request);
  }
  return out;
}

TEST_CASE("a prompt that the device has lost is loaded from host memory, in the time that takes") {
  Fleet f = fleet(200);
  f.plan.kv_tiers.host = tier(1000);
  const SimulationResult run = simulate(f.spec(), families({1, 2, 1}));
  const RequestRecord& again = run.records[2];
  // All blocks but the last, of which one token is computed.
  CHECK(again.cached_tokens == 2032);
  CHECK(again.tier_tokens[0] == 896);  // the device still has its beginning
  CHECK(again.tier_tokens[1] == 0);
  const double bytes = static_cast<double>(again.tier_tokens[0]) / 16 * kBlockBytes;
  const double seconds = bytes / find_gpu("h100").host_link.count();
  CHECK(to_seconds(again.kv_load) == Approx(seconds).epsilon(0.01).margin(1e-4));
  CHECK(again.first_scheduled - again.sent >= again.kv_load);
  CHECK(figure(run, "kv_read_host") == Approx(bytes));
  CHECK(figure(run, "prefix_cache_hit_rate_host") ==
        Approx(static_cast<double>(again.tier_tokens[0]) / (3 * 2048)));
  // Three prompts of 128 blocks, of which the third is there already.
  CHECK(figure(run, "kv_written_host") <= 257.0 * kBlockBytes);
  // 2048 tokens take 46 ms to compute.
  CHECK(again.first_token - again.sent < ms(15));
  CHECK(run.records[1].first_token - run.records[1].sent > ms(45));
}

TEST_CASE("a block in a tier has the KV of sliding layers too, which keep the whole context then") {
  Fleet f = fleet(200);
  f.plan.kv_tiers.host = tier(1000);
  f.plan.model.attention.sliding_window = 256;
  f.plan.model.attention.sliding_layers = 16;
  const SimulationResult run = simulate(f.spec(), families({1, 2, 1}));
  CHECK(run.records[2].tier_tokens[0] == 896);
  CHECK(figure(run, "kv_read_host") == Approx(896.0 / 16 * kBlockBytes));
}

TEST_CASE("a prompt is computed where loading it would take longer") {
  Fleet f = fleet(200);
  f.timers = {timer({ms(1), Duration(100), {}, {}, {}})};  // 2048 tokens in 1.2 ms
  f.plan.kv_tiers.host = tier(1000);
  const SimulationResult run = simulate(f.spec(), families({1, 2, 1}));
  CHECK(run.records[2].tier_tokens[0] == 0);
  CHECK(run.records[2].kv_load == Duration(0));
  CHECK(figure(run, "kv_read_host") == 0);
  CHECK(run.report.find("kv_load_time") == nullptr);
}

TEST_CASE("others run while a request waits for its load") {
  Fleet f = fleet(140);
  f.plan.kv_tiers.host = tier(1000);
  Workload load = families({1, 2, 3, 1, 4}, 1024);
  load.requests[4].arrival = load.requests[3].arrival;
  const SimulationResult run = simulate(f.spec(), load);
  CHECK(run.records[3].kv_load > Duration(0));
  CHECK(run.records[4].first_scheduled == run.records[4].sent);
  CHECK(run.records[3].first_scheduled > run.records[4].first_scheduled);
}

TEST_CASE("a lower tier takes what a full one above it evicts, and is slower") {
  Fleet f = fleet(200);
  f.plan.kv_tiers.host = tier(140);
  f.plan.kv_tiers.disk = tier(1000, TierWrite::back);
  const SimulationResult run = simulate(f.spec(), families({1, 2, 3, 1}));
  const RequestRecord& again = run.records[3];
  CHECK(again.tier_tokens[1] > 1500);
  CHECK(figure(run, "kv_read_disk") > 0);
  CHECK(figure(run, "kv_written_disk") >= figure(run, "kv_read_disk"));
  CHECK(figure(run, "prefix_cache_hit_rate_disk") > 0.15);
}

TEST_CASE("what a request waits for while it is prefetched is found in host memory") {
  Fleet f = fleet(200);
  f.plan.kv_tiers.host = tier(260);
  f.plan.kv_tiers.disk = tier(5000);
  Workload load = families({1, 2, 3, 4, 1});
  const SimulationResult plain = simulate(f.spec(), load);
  f.plan.kv_tiers.prefetch = true;
  const SimulationResult ahead = simulate(f.spec(), load);
  CHECK(plain.records[4].tier_tokens[1] > 1500);
  CHECK(ahead.records[4].tier_tokens == plain.records[4].tier_tokens);
  CHECK(figure(ahead, "kv_read_host") > figure(plain, "kv_read_host"));
}

TEST_CASE("workers that share a tier load what another has computed; others do not") {
  Fleet f = fleet(200, 2);
  f.plan.kv_tiers.host = tier(1000);
  const Workload load = families({1, 1});  // one for each worker
  CHECK(simulate(f.spec(), load).records[1].cached_tokens == 0);
  f.plan.kv_tiers.host->scope = TierScope::shared;
  const SimulationResult shared = simulate(f.spec(), load);
  CHECK(shared.records[1].worker == 1);
  CHECK(shared.records[1].tier_tokens[0] == 2032);
}

TEST_CASE("host memory brings conversations near the hit rate of an infinite cache") {
  const Workload load = make_conversation(300, std::chrono::seconds(300), 5);
  Fleet small = fleet(4'000);
  const double device = figure(simulate(small.spec(), load), "prefix_cache_hit_rate");
  Fleet infinite = fleet(1'000'000);
  const double bound = figure(simulate(infinite.spec(), load), "prefix_cache_hit_rate");
  double before = device;
  for (const std::int64_t blocks : {8'000, 30'000, 300'000}) {
    Fleet f = fleet(4'000);
    f.plan.kv_tiers.host = tier(blocks);
    const SimulationResult run = simulate(f.spec(), load);
    const double rate = figure(run, "prefix_cache_hit_rate");
    CHECK(rate >= before - 0.005);
    CHECK(rate <= bound + 0.02);
    CHECK(figure(run, "time_to_first_token") > 0);
    before = rate;
  }
  CHECK(device < 0.7 * bound);
  CHECK(before > 0.95 * bound);
}

TEST_CASE("step by step and fast-forward runs with tiers have the same figures, and repeat") {
  const Workload load = make_conversation(120, std::chrono::seconds(100), 9);
  for (const TierWrite write : {TierWrite::through, TierWrite::back}) {
    for (const EvictionKind kind :
         {EvictionKind::lru, EvictionKind::s3_fifo, EvictionKind::tiny_lfu,
          EvictionKind::cost_aware, EvictionKind::belady}) {
      Fleet f = fleet(3'000, 2);
      f.plan.router.kind = RouterKind::kv_aware;
      if (kind != EvictionKind::belady) {
        f.plan.pools[0].config.cache_eviction = kind;
      }
      f.plan.kv_tiers.host = tier(5'000, write);
      f.plan.kv_tiers.host->eviction = kind;
      f.plan.kv_tiers.object = tier(20'000, write);
      f.plan.kv_tiers.object->scope = TierScope::shared;
      f.plan.kv_tiers.object->eviction = kind;
      SimulationSpec spec = f.spec();
      const SimulationResult fast = simulate(spec, load);
      CHECK(simulate(spec, load).fingerprint == fast.fingerprint);
      spec.stepping = engine::Stepping::every_step;
      const SimulationResult slow = simulate(spec, load);
      REQUIRE(fast.records.size() == slow.records.size());
      for (std::size_t i = 0; i < fast.records.size(); ++i) {
        CHECK(fast.records[i].finished == slow.records[i].finished);
        CHECK(fast.records[i].tier_tokens == slow.records[i].tier_tokens);
        CHECK(fast.records[i].kv_load == slow.records[i].kv_load);
      }
      for (const char* tag : {"kv_read_host", "kv_written_host", "kv_read_object",
                              "kv_written_object", "prefix_cache_hit_rate"}) {
        CHECK(figure(fast, tag) == figure(slow, tag));
      }
    }
  }
}

TEST_CASE("a device whose eviction knows what was used keeps it from prompts that come once") {
  // A prompt that is had twice, and then again and again with two others between, beside which the
  // device has no room for it: LRU has forgotten it each time.
  std::vector<int> order = {1, 1};
  for (int i = 0; i < 12; ++i) {
    order.insert(order.end(), {100 + 2 * i, 101 + 2 * i, 1});
  }
  const auto hits = [&](EvictionKind kind) {
    Fleet f = fleet(262);
    f.plan.pools[0].config.cache_eviction = kind;
    return figure(simulate(f.spec(), families(order)), "prefix_cache_hit_rate");
  };
  CHECK(hits(EvictionKind::lru) < 0.04);  // the second alone
  CHECK(hits(EvictionKind::tiny_lfu) > 0.1);
  CHECK(hits(EvictionKind::cost_aware) > 0.1);
}

TEST_CASE("a run that is cut off while KV moves between tiers gives everything up") {
  Fleet f = fleet(300, 2);
  f.plan.kv_tiers.host = tier(1000);
  f.plan.kv_tiers.disk = tier(3000);
  f.plan.kv_tiers.prefetch = true;
  const Workload load = families({1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4});
  for (std::int64_t end = 0; end < 12'000; end += 61) {
    SimulationSpec spec = f.spec();
    spec.horizon = ms(end);
    simulate(spec, load);  // asserts that nothing is left
  }
}

TEST_CASE("the Belady bound is refused where the future is not known") {
  Fleet f = fleet(200);
  f.plan.kv_tiers.host = tier(1000);
  f.plan.kv_tiers.host->eviction = EvictionKind::belady;
  Workload load = families({1, 2});
  load.concurrency = 1;
  CHECK_THROWS_AS(simulate(f.spec(), load), Error);
}

TEST_CASE("a tier without room for a block is refused") {
  Fleet f = fleet(200);
  f.plan.kv_tiers.host = tier(1);
  f.plan.kv_tiers.host->capacity = Bytes(kBlockBytes - 1);
  CHECK_THROWS_AS(simulate(f.spec(), families({1})), Error);
}

}  // namespace
}  // namespace dyn::sim
