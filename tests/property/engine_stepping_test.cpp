#include <rapidcheck.h>

#include <catch2/catch.hpp>

#include "engine_driver.h"
#include "random_groups.h"

namespace {

using namespace dyn;
using test::Command;

struct RandomLevel {
  std::uint64_t capacity = 1;
  EvictionKind eviction = EvictionKind::lru;
  TierWrite write = TierWrite::through;
  std::uint32_t after_uses = 1;
  double bandwidth = 1e9;
};

struct Case {
  engine::EngineOptions options;
  std::vector<RandomLevel> levels;
  std::vector<test::TestRequest> requests;
  std::set<Command> commands;
};

/// A random workload that crowds a small engine: shared prefixes, few blocks, cancellations. With
/// tiers more is shared, so that blocks are wanted again after they were evicted.
Case random_case(WorkerRole role, bool tiers) {
  Case c;
  EngineConfig& config = c.options.config;
  config.kind = *rc::gen::element<std::string>("vllm", "sglang", "trtllm");
  config.block_size = *rc::gen::element(1, 2, 4, 16);
  config.max_num_seqs = *rc::gen::inRange(1, 9);
  config.max_num_batched_tokens = *rc::gen::inRange<std::int64_t>(4, 80);
  config.prefix_caching = tiers || *rc::gen::element(true, true, false);
  config.cache_eviction =
      *rc::gen::element(EvictionKind::lru, EvictionKind::lru, EvictionKind::s3_fifo,
                        EvictionKind::tiny_lfu, EvictionKind::cost_aware);
  config.chunked_prefill = *rc::gen::element(true, true, false);
  config.kv_blocks = *rc::gen::inRange<std::int64_t>(8, tiers ? 20 : 60);
  config.max_model_len = 10'000;
  config.queue = *rc::gen::element(QueuePolicy::fcfs, QueuePolicy::fcfs, QueuePolicy::priority);
  config.capacity =
      *rc::gen::element(CapacityPolicy::guaranteed_no_evict, CapacityPolicy::max_utilization);
  config.sglang.schedule_conservativeness = *rc::gen::element(0.0, 0.3, 1.0);
  if (config.queue == QueuePolicy::fcfs) {
    config.sglang.schedule_policy = *rc::gen::element(SchedulePolicy::fcfs, SchedulePolicy::lpm);
  }
  config.sglang.max_prefill_tokens = *rc::gen::element(16384, 20, 50);
  if (*rc::gen::inRange(0, 3) == 0) {
    config.speculation = SpeculationConfig{};
    config.speculation->draft_tokens = *rc::gen::inRange(1, 5);
    config.speculation->acceptance_length =
        std::min(*rc::gen::element(1.0, 1.7, 2.3, 3.9), 1.0 + config.speculation->draft_tokens);
  }
  if (*rc::gen::inRange(0, 3) == 0) {
    config.lora = LoraConfig{};
    config.lora->slots = *rc::gen::inRange(1, 4);
    config.lora->host_slots = config.lora->slots + *rc::gen::inRange(0, 3);
    c.options.adapter_load = {std::chrono::microseconds(7), std::chrono::microseconds(90)};
  }
  if (config.kind == "vllm" && !tiers) {
    c.options.groups = test::random_groups();
    *config.kv_blocks *=
        *rc::gen::inRange(1, 2 + c.options.groups.sliding + c.options.groups.linear);
  }
  if (config.kind == "sglang" && *rc::gen::arbitrary<bool>()) {
    c.options.groups = test::random_pools();
  }
  c.options.role = role;
  c.options.reserve_at_once = role == WorkerRole::decode && *rc::gen::arbitrary<bool>();
  c.options.publish_kv_events = *rc::gen::arbitrary<bool>();
  const int count = *rc::gen::inRange(1, tiers ? 40 : 25);
  const int spread = *rc::gen::element(10, 300, 3000);
  c.requests.resize(count);
  for (int i = 0; i < count; ++i) {
    test::TestRequest& request = c.requests[i];
    request.spec.id = RequestId(static_cast<std::uint32_t>(i));
    request.spec.prompt_tokens = *rc::gen::inRange(1, 60);
    request.spec.max_output_tokens = *rc::gen::element(1, 2, 3, 7, 20, 60);
    request.spec.priority = *rc::gen::inRange(0, 3);
    if (config.lora) {
      request.spec.adapter = *rc::gen::inRange<policy::AdapterNumber>(0, 6);
    }
    request.spec.remote_prefill =
        role == WorkerRole::decode && *rc::gen::element(true, true, true, false);
    request.reply_delay = *rc::gen::inRange(1, 40);
    const int family = *rc::gen::inRange(0, 3);
    const std::int64_t full = request.spec.prompt_tokens / config.block_size;
    const bool all = tiers && *rc::gen::element(true, true, false);
    const std::int64_t shared = all ? full : *rc::gen::inRange<std::int64_t>(0, full + 1);
    kvbm::BlockHash hash = kvbm::chain_root("test");
    for (std::int64_t b = 0; b < full; ++b) {
      hash = kvbm::chain(hash, b < shared ? family * 1000 + b : (i + 10) * 1000 + b);
      request.hashes.push_back(hash);
    }
    request.spec.blocks = kvbm::PromptBlocks(request.hashes);
    const std::int64_t at = *rc::gen::inRange(0, spread);
    c.commands.insert({Command::Kind::submit, at, static_cast<std::uint32_t>(i)});
    if (*rc::gen::inRange(0, 4) == 0) {
      const std::int64_t later = at + *rc::gen::inRange(0, 200);
      c.commands.insert({Command::Kind::cancel, later, static_cast<std::uint32_t>(i)});
    }
  }
  const int looks = *rc::gen::inRange(0, 12);
  for (int i = 0; i < looks; ++i) {
    c.commands.insert({Command::Kind::look, *rc::gen::inRange(0, 2 * spread), 0});
  }
  return c;
}

/// Gives the engines of a case one to three tiers.
void add_tiers(Case& c) {
  const int count = *rc::gen::inRange(1, 4);
  for (int i = 0; i < count; ++i) {
    c.levels.push_back({*rc::gen::inRange<std::uint64_t>(1, 100),
                        *rc::gen::element(EvictionKind::lru, EvictionKind::s3_fifo,
                                          EvictionKind::tiny_lfu, EvictionKind::cost_aware),
                        *rc::gen::element(TierWrite::through, TierWrite::back),
                        *rc::gen::element<std::uint32_t>(1, 1, 2),
                        *rc::gen::element(1e8, 1e9, 1e10)});
  }
  c.options.tiering.prefetch = *rc::gen::arbitrary<bool>();
  c.options.tiering.tiers.max_transfers = *rc::gen::element<std::uint32_t>(1, 3, 32);
  c.options.tiering.tiers.block_bytes = Bytes(1000);
  const int losses = *rc::gen::element(0, 0, 2);
  for (int i = 0; i < losses; ++i) {
    c.commands.insert({Command::Kind::give_up, *rc::gen::inRange(0, 3000), 0});
  }
}

test::Seen run(Case& c, engine::Stepping stepping, bool engine_first) {
  c.options.stepping = stepping;
  std::vector<kvbm::TierLevel>& levels = c.options.tiering.tiers.levels;
  levels.clear();
  for (const RandomLevel& level : c.levels) {
    levels.push_back({std::make_shared<kvbm::TierStore>(level.capacity, level.eviction),
                      level.write, level.after_uses, BytesPerSec(level.bandwidth), Duration(10)});
  }
  const test::Seen seen = test::Driver(c.options, c.requests, c.commands, engine_first).run();
  for (const kvbm::TierLevel& level : levels) {
    level.store->check_invariants();
    RC_ASSERT(level.store->pins() == 0);
  }
  return seen;
}

void same_in_both_steppings(WorkerRole role, bool tiers) {
  Case c = random_case(role, tiers);
  if (tiers) {
    add_tiers(c);
  }
  const test::Seen slow = run(c, engine::Stepping::every_step, *rc::gen::arbitrary<bool>());
  const test::Seen fast = run(c, engine::Stepping::fast_forward, *rc::gen::arbitrary<bool>());
  RC_ASSERT(fast.admitted == slow.admitted);
  RC_ASSERT(fast.tokens == slow.tokens);
  RC_ASSERT(fast.preempted == slow.preempted);
  RC_ASSERT(fast.prefilled == slow.prefilled);
  for (const auto& [id, tokens] : fast.wanted) {
    const auto other = slow.wanted.find(id);
    if (other != slow.wanted.end()) {
      RC_ASSERT(other->second == tokens);
    }
  }
  RC_ASSERT(fast.kv_events == slow.kv_events);
  RC_ASSERT(fast.transfers == slow.transfers);
  RC_ASSERT(fast.tiers == slow.tiers);
  RC_ASSERT(fast.looks == slow.looks);
  RC_ASSERT(fast.gaps == slow.gaps);
  RC_ASSERT(fast.end == slow.end);
  RC_CLASSIFY(!slow.preempted.empty(), "preemptions");
  RC_CLASSIFY(fast.events < slow.events, "runs of steps");
  RC_CLASSIFY(std::any_of(slow.transfers.begin(), slow.transfers.end(),
                          [](const auto& transfer) { return std::get<1>(transfer) == 0; }),
              "loads");
}

TEST_CASE("fast-forward and step by step give the same run") {
  REQUIRE(rc::check("aggregated", [] { same_in_both_steppings(WorkerRole::aggregated, false); }));
  REQUIRE(rc::check("prefill", [] { same_in_both_steppings(WorkerRole::prefill, false); }));
  REQUIRE(rc::check("decode", [] { same_in_both_steppings(WorkerRole::decode, false); }));
  REQUIRE(rc::check("tiers", [] { same_in_both_steppings(WorkerRole::aggregated, true); }));
  REQUIRE(rc::check("prefill, tiers", [] { same_in_both_steppings(WorkerRole::prefill, true); }));
}

TEST_CASE("every request that is not cancelled finishes, and leaves no block behind") {
  REQUIRE(rc::check([] {
    const WorkerRole role = *rc::gen::element(WorkerRole::aggregated, WorkerRole::decode);
    const bool tiers = *rc::gen::arbitrary<bool>();
    Case c = random_case(role, tiers);
    if (tiers) {
      add_tiers(c);
    }
    std::set<std::uint32_t> cancelled;
    for (const Command& command : c.commands) {
      if (command.kind == Command::Kind::cancel) {
        cancelled.insert(command.id);
      }
    }
    c.commands.insert({Command::Kind::look, 1'000'000'000, 0});
    const test::Seen seen = run(c, engine::Stepping::fast_forward, true);
    const engine::Engine probe(c.options, std::make_shared<test::SumTimer>());
    for (const test::TestRequest& request : c.requests) {
      const auto key =
          std::make_tuple(request.spec.id.value(), request.spec.max_output_tokens, true);
      const bool expected = !probe.why_impossible(request.spec);
      if (cancelled.count(request.spec.id.value()) == 0) {
        RC_ASSERT((seen.tokens.count(key) == 1) == expected);
      }
    }
    const std::vector<std::int64_t>& last = seen.looks.back();
    RC_ASSERT(last[1] == 0);  // running
    RC_ASSERT(last[2] == 0);  // waiting
    RC_ASSERT(last[3] == 0);  // used blocks
  }));
}

}  // namespace
