// SGLang's pools beside that of the layers that keep the whole context.
#include <catch2/catch.hpp>

#include "dyn/policy/capacity.h"
#include "dyn/policy/scheduler.h"

namespace {

using namespace dyn;
using namespace dyn::policy;

/// A scheduler with blocks of four tokens and 1000 of them for layers that keep the whole context.
struct Bench {
  explicit Bench(std::int64_t window_pool, int most_states = 0,
                 WorkerRole role = WorkerRole::aggregated)
      : scheduler(options(window_pool, most_states, role)) {}

  static SchedulerOptions options(std::int64_t window_pool, int most_states, WorkerRole role) {
    SchedulerOptions result;
    result.config.kind = "sglang";
    result.config.block_size = 4;
    result.config.max_num_batched_tokens = 16;
    result.config.max_num_seqs = 50;
    result.config.kv_blocks = 1000;
    result.role = role;
    result.every_token = true;
    result.groups.window = 8;
    result.groups.window_pool = window_pool;
    result.groups.most_states = most_states;
    return result;
  }
  void submit(std::uint32_t id, std::int64_t prompt, std::int64_t output, bool remote = false) {
    EngineRequest request{RequestId(id), prompt, output, {}};
    request.remote_prefill = remote;
    scheduler.submit(request);
  }
  void step() {
    outcome.clear();
    scheduler.begin_step(SimTime{}, outcome);
    scheduler.check_invariants();
    if (!scheduler.batch().empty()) {
      scheduler.end_step(SimTime{}, outcome);
    }
    scheduler.check_invariants();
  }
  /// The most that run at once until all are done.
  int most_running() {
    int most = 0;
    while (scheduler.has_work()) {
      step();
      most = std::max(most, scheduler.running());
    }
    return most;
  }

  Scheduler scheduler;
  Outcome outcome;
};

TEST_CASE("The smaller pool limits how many requests run") {
  // A window of 8 tokens touches three blocks, with a chunk of 12 tokens five.
  const auto most = [](std::int64_t pool) {
    Bench b(pool);
    for (std::uint32_t id = 0; id < 10; ++id) {
      b.submit(id, 12, 40);
    }
    return b.most_running();
  };
  CHECK(most(3) == 1);
  CHECK(most(5) == 1);
  CHECK(most(6) == 2);
  CHECK(most(9) == 3);
  CHECK(most(30) == 10);
}

TEST_CASE("While a prompt is computed in chunks it holds one beside its window") {
  Bench b(9);
  b.submit(0, 100, 30);  // 7 + 16 tokens: six blocks and one, as they fall
  b.submit(1, 4, 30);
  b.step();
  CHECK(b.scheduler.running() == 1);
  int steps = 1;
  for (; b.scheduler.running() == 1; ++steps) {
    b.step();
  }
  CHECK(steps == 8);  // seven chunks, and then the other
  CHECK(b.most_running() == 2);
}

TEST_CASE("A request that could use more than the pool has it alone") {
  Bench b(2);
  b.submit(0, 60, 5);
  b.submit(1, 60, 5);
  CHECK(b.most_running() == 1);
}

TEST_CASE("What is cancelled leaves its part of the pool to the next") {
  Bench b(5);
  b.submit(0, 12, 400);
  b.submit(1, 12, 5);
  b.step();
  b.step();
  CHECK(b.scheduler.running() == 1);
  b.scheduler.cancel(RequestId(0));
  b.step();
  b.step();
  CHECK(b.scheduler.running() == 1);
  CHECK(b.outcome.tokens.size() == 1);
  CHECK(b.most_running() == 1);
}

TEST_CASE("A decode worker takes a window of the pool for each prompt that is sent to it") {
  Bench b(7, 0, WorkerRole::decode);
  for (std::uint32_t id = 0; id < 3; ++id) {
    b.submit(id, 100, 5, true);
  }
  b.step();
  CHECK(b.outcome.kv_wanted.size() == 2);
  b.scheduler.cancel(RequestId(0));
  b.step();
  CHECK(b.outcome.kv_wanted.size() == 1);
}

TEST_CASE("A prefill worker keeps a prompt's window until it has been sent") {
  Bench b(7, 0, WorkerRole::prefill);
  for (std::uint32_t id = 0; id < 3; ++id) {
    b.submit(id, 12, 5);
  }
  for (int i = 0; i < 6; ++i) {
    b.step();
  }
  CHECK(b.scheduler.held() == 2);
  b.scheduler.release_held(RequestId(0));
  b.step();
  CHECK(b.scheduler.held() == 2);
}

TEST_CASE("No more requests run than there are states for") {
  Bench b(0, 3);
  for (std::uint32_t id = 0; id < 10; ++id) {
    b.submit(id, 12, 40);
  }
  CHECK(b.most_running() == 3);
}

struct ConstantTimer final : perf::StepTimer {
  Duration step_time(const perf::StepBatch&) const noexcept override {
    return std::chrono::milliseconds(1);
  }
};

TEST_CASE("A worker's capacity is that of the smallest of its pools") {
  const ConstantTimer timer;
  CapacityQuestion ask;
  ask.timer = &timer;
  ask.role = WorkerRole::decode;
  ask.prompt_tokens = 90;
  ask.output_tokens = 10;
  ask.kv_tokens = 2000;  // 20 requests
  ask.block_size = 4;
  ask.itl = std::chrono::seconds(1);
  const double all = request_capacity(ask);
  CHECK(all == Approx(20 / 0.01));
  ask.groups.window = 8;
  ask.groups.window_pool = 30;
  CHECK(request_capacity(ask) == Approx(all / 2));
  ask.groups.window_pool = 300;
  CHECK(request_capacity(ask) == all);
  ask.groups.most_states = 5;
  CHECK(request_capacity(ask) == Approx(all / 4));
}

}  // namespace
