#include <catch2/catch.hpp>
#include <deque>

#include "blocks.h"
#include "dyn/policy/scheduler.h"

namespace {

using namespace dyn;
using namespace dyn::policy;
using dyn::policy::test::blocks;

EngineConfig sglang(SchedulePolicy policy) {
  EngineConfig config;
  config.kind = "sglang";
  config.block_size = 4;
  config.kv_blocks = 100'000;
  config.sglang.schedule_policy = policy;
  return config;
}

struct Bench {
  explicit Bench(const EngineConfig& config)
      : scheduler({config, WorkerRole::aggregated, true, false}) {}

  /// A prompt of so many blocks from `first` on, and one token of output.
  void submit(std::uint32_t id, std::uint64_t first, std::uint64_t count) {
    prompts.push_back(blocks(first, count));
    const auto tokens = static_cast<std::int64_t>(4 * count + 1);
    scheduler.submit({RequestId(id), tokens, 1, kvbm::PromptBlocks(prompts.back())});
  }
  /// Does one step; returns who was admitted, in order.
  std::vector<std::uint32_t> step() {
    Outcome outcome;
    scheduler.begin_step(SimTime{}, outcome);
    scheduler.check_invariants();
    prompt_tokens = scheduler.batch().prefill_tokens;
    if (!scheduler.batch().empty()) {
      scheduler.end_step(SimTime{}, outcome);
    }
    std::vector<std::uint32_t> ids;
    for (const Admission& admission : outcome.admitted) {
      ids.push_back(admission.id.value());
    }
    return ids;
  }

  Scheduler scheduler;
  std::deque<std::vector<kvbm::BlockHash>> prompts;  ///< what requests point to
  std::int64_t prompt_tokens = 0;
};

using Ids = std::vector<std::uint32_t>;

TEST_CASE("the prompt of which most is cached is computed first") {
  for (const SchedulePolicy policy : {SchedulePolicy::fcfs, SchedulePolicy::lpm}) {
    Bench b(sglang(policy));
    b.submit(0, 1000, 12);
    b.step();
    b.submit(1, 2000, 12);
    b.submit(2, 1000, 10);
    b.submit(3, 1000, 12);
    CHECK(b.step() == (policy == SchedulePolicy::lpm ? Ids{3, 2, 1} : Ids{1, 2, 3}));
  }
}

TEST_CASE("of prompts that begin alike and are not cached one goes before the others") {
  Bench b(sglang(SchedulePolicy::lpm));
  b.submit(1, 1000, 9);
  b.submit(2, 1000, 12);
  b.submit(3, 2000, 9);
  b.submit(4, 1000, 7);  // no 32 tokens are alike
  CHECK(b.step() == Ids{1, 3, 4, 2});
}

TEST_CASE("a queue of more than 128 is taken as it is") {
  for (const std::uint32_t count : {128U, 129U}) {
    Bench b(sglang(SchedulePolicy::lpm));
    b.submit(0, 1, 12);
    b.step();
    for (std::uint32_t id = 1; id < count; ++id) {
      b.submit(id, 1000 * id, 9);
    }
    b.submit(count, 1, 12);
    CHECK(b.step().front() == (count == 128 ? count : 1));
  }
}

TEST_CASE("without a prefix cache the queue is first come, first served") {
  EngineConfig config = sglang(SchedulePolicy::lpm);
  config.prefix_caching = false;
  Bench b(config);
  b.submit(1, 1000, 12);
  b.submit(2, 1000, 12);
  b.submit(3, 2000, 12);
  CHECK(b.step() == Ids{1, 2, 3});
}

TEST_CASE("no further prompt is taken that reaches max_prefill_tokens, even to be cut") {
  for (const std::int64_t most : {60, 200}) {
    EngineConfig config = sglang(SchedulePolicy::fcfs);
    config.max_num_batched_tokens = 40;
    config.sglang.max_prefill_tokens = most;
    Bench b(config);
    b.submit(1, 1000, 5);   // 21 tokens, charged as 24
    b.submit(2, 2000, 10);  // 41, charged as 44
    CHECK(b.step() == (most == 60 ? Ids{1} : Ids{1, 2}));
    CHECK(b.prompt_tokens == (most == 60 ? 21 : 21 + 16));
  }
  // Alone it is taken, however long.
  EngineConfig config = sglang(SchedulePolicy::fcfs);
  config.sglang.max_prefill_tokens = 8;
  Bench b(config);
  b.submit(1, 1000, 10);
  CHECK(b.step() == Ids{1});
}

}  // namespace
