#include <rapidcheck.h>

#include <catch2/catch.hpp>

#include "dyn/policy/scheduler.h"
#include "policy_naive_scheduler.h"
#include "random_groups.h"

namespace {

using namespace dyn;

std::vector<std::int64_t> sums(const perf::StepBatch& b) {
  return {b.prefill_sequences, b.decode_sequences, b.sampled,        b.prefill_tokens,
          b.prefill_context,   b.prefill_cross,    b.prefill_square, b.decode_context};
}

/// Tokens in order of request and count: the two report a step's tokens in different order.
std::vector<std::tuple<std::uint32_t, std::int64_t, bool>> tokens(const policy::Outcome& o) {
  std::vector<std::tuple<std::uint32_t, std::int64_t, bool>> result;
  for (const policy::TokenEvent& t : o.tokens) {
    result.emplace_back(t.id.value(), t.produced, t.finished);
  }
  std::sort(result.begin(), result.end());
  return result;
}

/// Events block by block, as (kind, hash).
std::vector<std::pair<int, kvbm::BlockHash>> single(const std::vector<kvbm::KvEvent>& events) {
  std::vector<std::pair<int, kvbm::BlockHash>> result;
  for (const kvbm::KvEvent& event : events) {
    for (std::uint32_t i = 0; i < event.count; ++i) {
      const bool removed = event.kind == kvbm::KvEvent::Kind::removed;
      const std::uint32_t block = event.first + (removed ? event.count - 1 - i : i);
      result.emplace_back(static_cast<int>(event.kind), kvbm::nth_block(event.hash, block));
    }
  }
  return result;
}

bool same_events(const std::vector<kvbm::KvEvent>& a, const std::vector<kvbm::KvEvent>& b) {
  return single(a) == single(b);
}

EngineConfig random_config() {
  EngineConfig config;
  config.block_size = *rc::gen::element(1, 2, 4, 16);
  config.max_num_seqs = *rc::gen::inRange(1, 9);
  config.max_num_batched_tokens = *rc::gen::inRange<std::int64_t>(4, 80);
  config.prefix_caching = *rc::gen::element(true, true, false);
  config.chunked_prefill = *rc::gen::element(true, true, false);
  config.kv_blocks = *rc::gen::inRange<std::int64_t>(6, 50);
  config.queue = *rc::gen::element(QueuePolicy::fcfs, QueuePolicy::priority);
  if (*rc::gen::inRange(0, 3) == 0) {
    config.speculation = SpeculationConfig{};
    config.speculation->draft_tokens = *rc::gen::inRange(1, 5);
    config.speculation->acceptance_length =
        std::min(*rc::gen::element(1.0, 1.5, 2.25, 3.75), 1.0 + config.speculation->draft_tokens);
  }
  if (*rc::gen::inRange(0, 2) == 0) {
    config.lora = LoraConfig{};
    config.lora->slots = *rc::gen::inRange(1, 4);
  }
  return config;
}

policy::SchedulerOptions random_options() {
  policy::SchedulerOptions options{random_config(), WorkerRole::aggregated, true, true};
  options.groups = test::random_groups();
  *options.config.kv_blocks *=
      *rc::gen::inRange(1, 2 + options.groups.sliding + options.groups.linear);
  return options;
}

policy::AdapterNumber random_adapter(const EngineConfig& config) {
  return config.lora ? *rc::gen::inRange<policy::AdapterNumber>(0, 6) : policy::kNoAdapter;
}

/// One of a few families of prompts that share beginnings.
std::vector<kvbm::BlockHash> random_prompt(std::uint32_t id, std::int64_t full) {
  const int family = *rc::gen::inRange(0, 3);
  const std::int64_t shared = *rc::gen::inRange<std::int64_t>(0, full + 1);
  std::vector<kvbm::BlockHash> hashes;
  kvbm::BlockHash hash = kvbm::chain_root("test");
  for (std::int64_t b = 0; b < full; ++b) {
    hash = kvbm::chain(hash, b < shared ? family * 1000 + b : (id + 10) * 1000 + b);
    hashes.push_back(hash);
  }
  return hashes;
}

TEST_CASE("the scheduler does what one that goes request by request and block by block does") {
  REQUIRE(rc::check([] {
    const policy::SchedulerOptions options = random_options();
    const EngineConfig& config = options.config;
    policy::Scheduler scheduler(options);
    test::NaiveScheduler naive(config, options.groups);
    std::deque<std::vector<kvbm::BlockHash>> prompts;
    std::uint32_t next = 0;
    std::size_t preemptions = 0;
    for (int step = 0; step < 400; ++step) {
      for (int arrivals = step < 60 ? *rc::gen::element(0, 0, 0, 1, 2) : 0; arrivals > 0;
           --arrivals) {
        policy::EngineRequest request;
        request.id = RequestId(next++);
        request.prompt_tokens = *rc::gen::inRange(1, 60);
        request.max_output_tokens = *rc::gen::element(1, 2, 3, 10, 40);
        request.priority = *rc::gen::inRange(0, 3);
        request.adapter = random_adapter(config);
        prompts.push_back(random_prompt(next, request.prompt_tokens / config.block_size));
        request.blocks = kvbm::PromptBlocks(prompts.back());
        const std::int64_t most = request.prompt_tokens + request.max_output_tokens - 1;
        const bool whole = config.chunked_prefill || most <= config.max_num_batched_tokens;
        if (whole && scheduler.fits(request)) {
          scheduler.submit(request);
          naive.submit(request, prompts.back());
        }
      }
      policy::Outcome ours;
      policy::Outcome theirs;
      const SimTime now(Duration(step * 10));
      scheduler.begin_step(now, ours);
      RC_ASSERT(sums(naive.begin(theirs)) == sums(scheduler.batch()));
      scheduler.check_invariants();
      if (next > 0 && *rc::gen::inRange(0, 20) == 0) {
        const RequestId id(*rc::gen::inRange<std::uint32_t>(0, next));
        scheduler.cancel(id);
        naive.cancel(id);
      }
      if (!scheduler.batch().empty()) {
        scheduler.end_step(now, ours);
      }
      naive.end(now, theirs);
      RC_ASSERT(tokens(ours) == tokens(theirs));
      RC_ASSERT(ours.preempted == theirs.preempted);
      RC_ASSERT(ours.admitted.size() == theirs.admitted.size());
      for (std::size_t i = 0; i < ours.admitted.size(); ++i) {
        RC_ASSERT(ours.admitted[i].id == theirs.admitted[i].id);
        RC_ASSERT(ours.admitted[i].cached_tokens == theirs.admitted[i].cached_tokens);
      }
      RC_ASSERT(scheduler.used_blocks() == naive.pool.used());
      RC_ASSERT(scheduler.cached_blocks() == naive.pool.cached());
      RC_ASSERT(same_events(scheduler.kv_events(), naive.events()));
      scheduler.kv_events().clear();
      naive.events().clear();
      scheduler.check_invariants();
      preemptions += ours.preempted.size();
    }
    RC_ASSERT(static_cast<std::size_t>(scheduler.running() + scheduler.waiting()) == naive.size());
    RC_CLASSIFY(preemptions > 0, "preemptions");
    RC_CLASSIFY(options.groups.sliding > 0, "windows");
    RC_CLASSIFY(options.groups.linear > 0, "states");
    RC_CLASSIFY(options.groups.whole == 0, "all slide");
    RC_CLASSIFY(options.groups.window_pool > 0, "pools");
  }));
}

TEST_CASE("the steps foretold as quiet are: one after the other they change nothing but growth") {
  REQUIRE(rc::check([] {
    const policy::SchedulerOptions options = random_options();
    const EngineConfig& config = options.config;
    policy::Scheduler scheduler(options);
    for (std::uint32_t id = 0; id < 12; ++id) {
      policy::EngineRequest request;
      request.id = RequestId(id);
      request.prompt_tokens = *rc::gen::inRange(1, 40);
      request.max_output_tokens = *rc::gen::inRange(1, 40);
      request.priority = *rc::gen::inRange(0, 3);
      request.adapter = random_adapter(config);
      const std::int64_t most = request.prompt_tokens + request.max_output_tokens - 1;
      if (scheduler.fits(request) &&
          (config.chunked_prefill || most <= config.max_num_batched_tokens)) {
        scheduler.submit(request);
      }
    }
    std::int64_t quiet = 0;
    std::int32_t batch = 0;
    // One at a time, twelve requests of 39 tokens in and out take some 600 steps.
    for (int step = 0; step < 2000 && scheduler.has_work(); ++step) {
      policy::Outcome outcome;
      scheduler.begin_step(SimTime{}, outcome);
      if (quiet > 0) {
        RC_ASSERT(outcome.admitted.empty() && outcome.preempted.empty());
        RC_ASSERT(scheduler.batch().prefill_sequences == 0);
        RC_ASSERT(scheduler.batch().decode_sequences == batch);
      }
      quiet = std::max(quiet, scheduler.quiet_steps()) - 1;
      batch = scheduler.batch().decode_sequences;
      if (!scheduler.batch().empty()) {
        scheduler.end_step(SimTime{}, outcome);
      }
    }
    RC_ASSERT(!scheduler.has_work());
  }));
}

}  // namespace
