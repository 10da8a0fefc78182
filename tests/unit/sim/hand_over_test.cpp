// How KV gets from prefill to decode workers, by hand.
#include <catch2/catch.hpp>

#include "dyn/core/error.h"
#include "fleets.h"

namespace dyn::sim {
namespace {

using namespace test;
using namespace std::chrono_literals;

/// Prefill of 10 ms and 100 us a token, decode steps of 2 ms, 1 GB/s, 10 kB a token.
Fleet pair(int prefills, int decodes) {
  Fleet fleet = disaggregated(prefills, decodes, {.base = ms(10), .per_prefill = us(100)},
                              {.base = ms(2), .per_prefill = us(100)});
  fleet.plan.transfer = {BytesPerSec(1e9), Duration{0}, Bytes(10'000)};
  return fleet;
}

TEST_CASE("pushed KV has the decode worker chosen and its room kept from the start") {
  Fleet fleet = pair(1, 1);
  fleet.plan.disaggregation.hand_off = HandOff::push;
  const SimulationResult result = simulate(fleet.spec(), workload({{ms(0), 100, 3}}));
  const RequestRecord& record = result.records[0];
  CHECK(record.transfer == ms(1));  // 1 MB; a model without layers has nothing to overlap
  CHECK(record.first_token == at(ms(20) + ms(1) + ms(2)));
  CHECK(record.prefill_worker == 0);
  CHECK(record.worker == 0);
}

TEST_CASE("layer by layer all but the last layer's share moves while the prompt is computed") {
  Fleet fleet = pair(1, 1);
  fleet.plan.model.layers = 10;
  fleet.plan.disaggregation.hand_off = HandOff::push;
  const auto transfer = [&](double rate) {
    fleet.plan.transfer.bandwidth = BytesPerSec(rate);
    return simulate(fleet.spec(), workload({{ms(0), 100, 3}})).records[0].transfer;
  };
  CHECK(transfer(1e9) == us(100));  // a tenth of 1 MB; nine tenths took 0.9 of the prompt's 20 ms
  CHECK(transfer(1e8) == ms(1));
  // At 25 MB/s the nine tenths take 36 ms: 16 ms more than the prompt. Both then share the link:
  // the tail's 0.1 MB and as much of the rest take 8 ms, and 0.3 MB are left.
  CHECK(transfer(2.5e7) == ms(20));
  fleet.plan.disaggregation.overlap = false;
  CHECK(transfer(1e9) == ms(1));
}

TEST_CASE("a prompt of few new tokens is computed by the decode worker") {
  Fleet fleet = pair(1, 1);
  fleet.plan.disaggregation.local_prefill = Tokens(100);
  const SimulationResult result =
      simulate(fleet.spec(), workload({{ms(0), 100, 2}, {ms(50), 101, 2}}));
  const RequestRecord& local = result.records[0];
  CHECK(local.prefill_worker == -1);
  CHECK(local.transfer == Duration{0});
  CHECK(local.first_token == at(ms(12)));
  CHECK(result.records[1].prefill_worker == 0);
  CHECK(result.fleet.local_prefills == 1);
}

TEST_CASE("what a decode worker has cached is neither computed elsewhere nor sent") {
  Fleet fleet = disaggregated(1, 1, {.base = ms(10), .per_prefill = us(100)},
                              {.base = ms(2), .per_prefill = us(100)}, RouterKind::kv_aware);
  fleet.plan.disaggregation.local_cached_share = 0.5;
  Workload load = workload({{ms(0), 1280, 2}, {ms(500), 1280, 2}});
  load.block_tokens = 128;
  kvbm::BlockHash hash = kvbm::chain_root("shared");
  for (std::uint64_t i = 0; i < 10; ++i) {
    hash = kvbm::chain(hash, i);
    load.blocks.push_back(hash);
  }
  for (WorkloadRequest& request : load.requests) {
    request.block_count = 10;
  }
  const SimulationResult result = simulate(fleet.spec(), load);
  CHECK(result.records[0].prefill_worker == 0);
  CHECK(result.records[1].prefill_worker == -1);
  CHECK(result.records[1].cached_tokens == 1280 - 16);
}

TEST_CASE("every copy of the KV that a decode worker keeps is sent") {
  Fleet fleet = pair(1, 1);
  ModelSpec& model = fleet.plan.model;
  model.layers = 2;
  model.attention.kind = AttentionKind::latent;
  model.attention.kv_lora_rank = 500;
  fleet.plan.pools[1].layout.tensor = 4;
  const SimulationResult result = simulate(fleet.spec(), workload({{ms(0), 100, 2}}));
  CHECK(result.records[0].transfer == ms(4));
}

TEST_CASE("sliding layers are sent their last window, linear ones their state") {
  Fleet fleet = pair(1, 1);
  ModelSpec& model = fleet.plan.model;
  model.layers = 4;
  model.attention.kv_heads = 10;
  model.attention.head_dim = 125;  // 5000 bytes a token and layer
  model.attention.sliding_window = 30;
  model.attention.sliding_layers = 2;  // the other two have the 10 kB of a token
  const auto transfer = [&](std::int64_t tokens) {
    return simulate(fleet.spec(), workload({{ms(0), tokens, 2}})).records[0].transfer;
  };
  CHECK(transfer(20) == us(400));
  CHECK(transfer(100) == us(1000 + 300));
  fleet.plan.pools[1].config.hybrid_kv_cache = false;  // the decode worker keeps all of it
  CHECK(transfer(100) == us(2000));
  fleet.plan.pools[1].config.hybrid_kv_cache.reset();
  model.attention.sliding_window = 0;
  model.layers = 5;
  // A state of 50 x 100 fp32 values and 3 bf16 inputs of 200 channels. The plan says that a token
  // takes half of what it does.
  model.linear = LinearAttentionSpec{1, 1, 1, 50, 100, 4};
  CHECK(transfer(100) == us(2000) / 2 + Duration(20'000 + 1'200) / 2);
  fleet.plan.transfer.bytes_per_token = Bytes(0);
  CHECK(transfer(100) == Duration{0});
}

TEST_CASE("windows and states set out when the prompt's end is computed") {
  Fleet fleet = pair(1, 1);
  ModelSpec& model = fleet.plan.model;
  model.layers = 10;
  model.attention.kv_heads = 10;
  model.attention.head_dim = 50;  // 2000 bytes a token and layer
  model.attention.sliding_window = 30;
  model.attention.sliding_layers = 5;
  fleet.plan.disaggregation.hand_off = HandOff::push;
  const SimulationResult result = simulate(fleet.spec(), workload({{ms(0), 100, 2}}));
  CHECK(result.records[0].transfer == us(100 + 300));
}

TEST_CASE("workers of one node have the node's links, those of others their cards") {
  Fleet fleet = disaggregated(1, 2, {.base = ms(10)}, {.base = ms(2)});
  fleet.plan.transfer.bytes_per_token = Bytes(10'000);
  fleet.plan.network.gpus_per_node = 2;
  fleet.plan.network.intra_node = BytesPerSec(1e9);
  fleet.plan.network.inter_node = BytesPerSec(1e8);
  const SimulationResult result =
      simulate(fleet.spec(), workload({{ms(0), 100, 2}, {ms(100), 100, 2}}));
  CHECK(result.records[0].transfer == ms(1));
  CHECK(result.records[1].transfer == ms(10));
}

TEST_CASE("both legs are released at whatever stage a client gives up") {
  // simulate() itself asserts that nothing is left anywhere.
  for (const HandOff hand_off : {HandOff::pull, HandOff::push}) {
    Fleet fleet = pair(1, 1);
    fleet.plan.model.layers = 4;
    fleet.plan.disaggregation.hand_off = hand_off;
    fleet.plan.transfer.bandwidth = BytesPerSec(5e7);
    fleet.plan.pools[1].config.kv_blocks = 10;  // one request at a time
    const Workload load = workload({{ms(0), 100, 9}, {ms(1), 100, 9}, {ms(2), 100, 9}});
    std::int64_t failed = 0;
    for (int timeout = 1; timeout < 120; ++timeout) {
      FaultSpec faults;
      faults.retry.timeout = ms(timeout);
      SimulationSpec spec = fleet.spec();
      spec.faults = &faults;
      for (const RequestRecord& record : simulate(spec, load).records) {
        failed += record.status == RequestStatus::failed ? 1 : 0;
        CHECK(
            (record.status == RequestStatus::failed || record.status == RequestStatus::completed));
      }
    }
    CHECK(failed > 100);
  }
}

TEST_CASE("both legs are released at whatever stage a worker crashes, and nobody is lost") {
  for (const HandOff hand_off : {HandOff::pull, HandOff::push}) {
    for (const WorkerRole role : {WorkerRole::prefill, WorkerRole::decode}) {
      Fleet fleet = pair(2, 2);
      fleet.plan.model.layers = 4;
      fleet.plan.disaggregation.hand_off = hand_off;
      fleet.plan.transfer.bandwidth = BytesPerSec(5e7);
      const Workload load = workload(
          {{ms(0), 100, 9}, {ms(1), 100, 9}, {ms(2), 100, 9}, {ms(3), 150, 5}, {ms(30), 90, 5}});
      std::int64_t moved = 0;
      for (int when = 0; when < 110; when += 3) {
        FaultSpec faults;
        faults.schedule.push_back({FaultKind::worker_crash, ms(when), role, false, 0, ms(7)});
        SimulationSpec spec = fleet.spec();
        spec.faults = &faults;
        const SimulationResult result = simulate(spec, load);
        moved += result.fleet.migrations;
        for (const RequestRecord& record : result.records) {
          CHECK(record.status == RequestStatus::completed);
        }
      }
      CHECK(moved > 10);
    }
  }
}

TEST_CASE("a hand-over over a link that is down is given up, and the request starts again") {
  Fleet fleet = pair(1, 1);
  FaultSpec faults;
  faults.schedule.push_back({FaultKind::link_down, ms(5), WorkerRole::decode, false, 0, ms(300)});
  fleet.plan.disaggregation.transfer_timeout = ms(100);
  SimulationSpec spec = fleet.spec();
  spec.faults = &faults;
  const SimulationResult result = simulate(spec, workload({{ms(0), 100, 2}}));
  const RequestRecord& record = result.records[0];
  CHECK(record.status == RequestStatus::completed);
  // Computed by 20, given up at 120, computed by 140, given up at 240, by 260, through at 306.
  CHECK(record.migrations == 2);
  CHECK(record.first_token == at(ms(305) + ms(1) + ms(2)));
  CHECK(result.fleet.lost_tokens == 200);
}

}  // namespace
}  // namespace dyn::sim
