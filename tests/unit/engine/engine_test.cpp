#include "dyn/engine/engine.h"

#include <catch2/catch.hpp>

namespace {

using namespace dyn;
using namespace dyn::engine;
using namespace std::chrono_literals;

/// 1 ms a prefill token, 10 ms a step.
class PlainTimer final : public perf::StepTimer {
 public:
  Duration step_time(const perf::StepBatch& batch) const noexcept override {
    return 10ms + batch.prefill_tokens * Duration(1ms);
  }
};

SimTime at(Duration d) {
  return SimTime(d);
}

EngineOptions options(Stepping stepping, std::int64_t blocks = 100) {
  EngineOptions result;
  result.config.block_size = 4;
  result.config.max_num_batched_tokens = 100;
  result.config.max_num_seqs = 4;
  result.config.kv_blocks = blocks;
  result.config.max_model_len = 200;
  result.stepping = stepping;
  return result;
}

EngineRequest request(std::uint32_t id, std::int64_t prompt, std::int64_t output) {
  EngineRequest result;
  result.id = RequestId(id);
  result.prompt_tokens = prompt;
  result.max_output_tokens = output;
  return result;
}

Engine make(const EngineOptions& o) {
  return Engine(o, std::make_shared<PlainTimer>());
}

TEST_CASE("stepwise, every token is an outcome at the end of its step") {
  Engine engine = make(options(Stepping::every_step));
  CHECK_FALSE(engine.next_event());
  engine.submit(request(1, 20, 3), at(5ms));
  CHECK_FALSE(engine.next_event());  // starts with advance
  Outcome outcome;
  engine.advance(at(5ms), outcome);
  REQUIRE(outcome.admitted.size() == 1);
  CHECK(outcome.admitted[0].at == at(5ms));
  CHECK(engine.next_event() == at(35ms));
  engine.advance(at(35ms), outcome);
  engine.advance(at(45ms), outcome);
  engine.advance(at(55ms), outcome);
  REQUIRE(outcome.tokens.size() == 3);
  CHECK(outcome.tokens[0].at == at(35ms));
  CHECK(outcome.tokens[1].at == at(45ms));
  CHECK(outcome.tokens[2].at == at(55ms));
  CHECK(outcome.tokens[2].finished);
  CHECK_FALSE(engine.next_event());
  CHECK(engine.load(at(60ms)).steps == 3);
  engine.check_invariants();
}

TEST_CASE("a late driver does not shift the steps") {
  Engine engine = make(options(Stepping::every_step));
  engine.submit(request(1, 20, 10), at(0ms));
  Outcome outcome;
  engine.advance(at(0ms), outcome);
  engine.advance(at(57ms), outcome);  // due at 30, 40 and 50
  REQUIRE(outcome.tokens.size() == 3);
  CHECK(outcome.tokens[2].at == at(50ms));
  CHECK(engine.next_event() == at(60ms));
}

TEST_CASE("decode steps in which nothing can change are one event") {
  Engine engine = make(options(Stepping::fast_forward));
  engine.submit(request(1, 20, 12), at(0ms));
  Outcome outcome;
  engine.advance(at(0ms), outcome);
  engine.advance(at(30ms), outcome);
  CHECK(outcome.tokens.size() == 1);
  CHECK(engine.next_event() == at(140ms));  // 11 more tokens
  // 20 prompt tokens fill 5 blocks; the step from 30 ms begins the sixth, that from 70 another.
  CHECK(engine.load(at(70ms)).used_blocks == 6);  // at 70 it is yet to begin
  CHECK(engine.load(at(70ms)).steps == 5);
  CHECK(engine.load(at(71ms)).used_blocks == 7);
  outcome.clear();
  engine.advance(at(140ms), outcome);
  REQUIRE(outcome.tokens.size() == 2);
  CHECK(outcome.tokens[0].produced == 2);
  CHECK(outcome.tokens[0].at == at(40ms));
  CHECK(outcome.tokens[1].produced == 12);
  CHECK(outcome.tokens[1].finished);
  CHECK(outcome.tokens[1].at == at(140ms));
  CHECK(engine.load(at(140ms)).used_blocks == 0);
}

TEST_CASE("an arrival in a run joins the step after the one in progress") {
  for (const Stepping stepping : {Stepping::every_step, Stepping::fast_forward}) {
    Engine engine = make(options(stepping));
    engine.submit(request(1, 20, 50), at(0ms));
    Outcome outcome;
    engine.advance(at(0ms), outcome);
    engine.advance(at(30ms), outcome);
    engine.submit(request(2, 10, 1), at(99ms));
    engine.advance(at(99ms), outcome);
    CHECK(engine.next_event() == at(100ms));
    outcome.clear();
    engine.settle(at(100ms), outcome);
    engine.submit(request(3, 20, 1), at(100ms));  // right where a step begins: it joins that one
    CHECK(engine.next_event() == at(100ms));
    engine.advance(at(100ms), outcome);
    REQUIRE(outcome.admitted.size() == 2);
    CHECK(outcome.admitted[0].id == RequestId(2));
    CHECK(outcome.admitted[1].at == at(100ms));
    CHECK(engine.next_event() == at(140ms));
    engine.check_invariants();
  }
}

TEST_CASE("the ranks of a worker step together, as long as the slowest takes") {
  for (const Stepping stepping : {Stepping::every_step, Stepping::fast_forward}) {
    std::vector<Engine> ranks;
    ranks.push_back(make(options(stepping)));
    ranks.push_back(ranks[0].another_rank(options(stepping)));
    ranks[0].submit(request(1, 20, 50), at(0ms));
    Outcome outcome;
    ranks[0].advance(at(0ms), outcome);
    CHECK(ranks[0].next_event() == at(30ms));
    CHECK_FALSE(ranks[1].next_event());  // idle: it waits
    ranks[1].submit(request(2, 60, 2), at(10ms));
    ranks[1].advance(at(10ms), outcome);
    CHECK(ranks[1].next_event() == at(30ms));
    ranks[1].settle(at(30ms), outcome);
    ranks[0].settle(at(30ms), outcome);
    ranks[0].advance(at(30ms), outcome);
    // 60 prompt tokens take 70 ms; the one that decodes beside them waits.
    CHECK(ranks[0].next_event() == at(100ms));
    outcome.clear();
    ranks[1].advance(at(30ms), outcome);
    REQUIRE(outcome.admitted.size() == 1);
    CHECK(outcome.admitted[0].at == at(30ms));
    ranks[0].settle(at(100ms), outcome);
    CHECK(ranks[0].load(at(100ms)).steps == 2);
    CHECK(ranks[1].load(at(100ms)).steps == 1);
    ranks[0].check_invariants();
    ranks[1].check_invariants();
  }
}

TEST_CASE("an arrival that cannot be admitted does not end the run") {
  EngineOptions o = options(Stepping::fast_forward);
  o.config.max_num_seqs = 1;
  Engine engine = make(o);
  engine.submit(request(1, 20, 12), at(0ms));
  Outcome outcome;
  engine.advance(at(30ms), outcome);
  engine.advance(at(60ms), outcome);
  const auto end = engine.next_event();
  engine.submit(request(2, 20, 12), at(75ms));
  engine.advance(at(75ms), outcome);
  CHECK(engine.next_event() == end);
  CHECK(engine.load(at(75ms)).waiting == 1);
}

TEST_CASE("cancelling in a run ends the request with the step in progress") {
  for (const Stepping stepping : {Stepping::every_step, Stepping::fast_forward}) {
    Engine engine = make(options(stepping));
    engine.submit(request(1, 20, 50), at(0ms));
    Outcome outcome;
    engine.advance(at(0ms), outcome);
    engine.advance(at(30ms), outcome);
    engine.cancel(RequestId(1), at(95ms));
    engine.advance(at(95ms), outcome);
    CHECK(engine.next_event() == at(100ms));
    outcome.clear();
    engine.advance(at(100ms), outcome);
    CHECK(engine.load(at(100ms)).used_blocks == 0);
    CHECK_FALSE(engine.next_event());
    std::int64_t gaps = 0;
    for (const GapCount& gap : engine.token_gaps()) {
      CHECK(gap.gap == 10ms);
      gaps += gap.count;
    }
    CHECK(gaps == 6);  // tokens at 30, 40, ... 90 ms
  }
}

TEST_CASE("evictions within a run are told when the step that caused them has ended") {
  EngineOptions o = options(Stepping::fast_forward, 8);
  o.publish_kv_events = true;
  Engine engine = make(o);
  const std::vector<kvbm::BlockHash> hashes{kvbm::BlockHash{1}, kvbm::BlockHash{2}};
  EngineRequest cached = request(1, 8, 1);
  cached.blocks = kvbm::PromptBlocks(hashes);
  engine.submit(cached, at(0ms));
  Outcome outcome;
  engine.advance(at(0ms), outcome);
  CHECK(outcome.kv_events.empty());
  engine.advance(at(18ms), outcome);
  CHECK(outcome.kv_events.size() == 2);  // stored
  engine.submit(request(2, 20, 13), at(18ms));
  engine.advance(at(18ms), outcome);
  engine.advance(at(48ms), outcome);
  outcome.clear();
  // The second prompt fills 5 blocks, the decode steps that begin at 48, 88 and 128 ms take a
  // block each; the last of these evicts, as the first does not (8 - 5 - 2 = 1).
  engine.advance(at(97ms), outcome);
  CHECK(outcome.kv_events.empty());
  engine.advance(at(98ms), outcome);
  REQUIRE(outcome.kv_events.size() == 1);
  CHECK(outcome.kv_events[0].kind == kvbm::KvEvent::Kind::removed);
  CHECK(outcome.kv_events[0].hash == kvbm::BlockHash{2});  // the suffix first
  outcome.clear();
  engine.advance(at(138ms), outcome);
  REQUIRE(outcome.kv_events.size() == 1);
  CHECK(outcome.kv_events[0].hash == kvbm::BlockHash{1});
}

TEST_CASE("a request that cannot run here says why") {
  EngineOptions o = options(Stepping::every_step, 10);
  Engine engine = make(o);
  CHECK_FALSE(engine.why_impossible(request(1, 30, 11)));
  CHECK(engine.why_impossible(request(1, 30, 12)) == errc::prompt_exceeds_cache);
  CHECK(engine.why_impossible(request(1, 150, 51)) == errc::prompt_exceeds_context);
  o.config.chunked_prefill = false;
  o.config.kv_blocks = 100;
  Engine whole = make(o);
  CHECK_FALSE(whole.why_impossible(request(1, 90, 11)));
  CHECK(whole.why_impossible(request(1, 90, 12)) == errc::prompt_exceeds_context);
}

TEST_CASE("a prefill worker and a decode worker hand a request over") {
  EngineOptions o = options(Stepping::fast_forward);
  o.role = WorkerRole::prefill;
  Engine prefill = make(o);
  o.role = WorkerRole::decode;
  Engine decode = make(o);
  Outcome outcome;
  prefill.submit(request(1, 20, 5), at(0ms));
  prefill.advance(at(0ms), outcome);
  prefill.advance(at(30ms), outcome);
  CHECK(outcome.tokens.empty());
  REQUIRE(outcome.prefilled.size() == 1);
  CHECK(prefill.load(at(30ms)).used_blocks == 5);

  EngineRequest remote = request(1, 20, 5);
  remote.remote_prefill = true;
  decode.submit(remote, at(30ms));
  outcome.clear();
  decode.advance(at(30ms), outcome);
  REQUIRE(outcome.kv_wanted.size() == 1);
  CHECK(decode.tokens_wanted(RequestId(1)) == 20);
  CHECK_FALSE(decode.next_event());
  decode.kv_received(RequestId(1), at(40ms));
  prefill.release_held(RequestId(1), at(40ms));
  CHECK(prefill.load(at(40ms)).used_blocks == 0);
  outcome.clear();
  decode.advance(at(40ms), outcome);
  CHECK(decode.next_event() == at(50ms));
  decode.advance(at(50ms), outcome);
  REQUIRE(outcome.tokens.size() == 1);
  CHECK(outcome.tokens[0].produced == 1);
  decode.advance(at(90ms), outcome);
  CHECK(outcome.tokens.back().finished);
  decode.check_invariants();
}

}  // namespace
