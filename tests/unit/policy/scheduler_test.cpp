#include "dyn/policy/scheduler.h"

#include <catch2/catch.hpp>
#include <string>

#include "blocks.h"

namespace {

using namespace dyn;
using namespace dyn::policy;
using dyn::policy::test::blocks;

/// A scheduler of small numbers, and shorthand to step it.
struct Bench {
  explicit Bench(EngineConfig config, WorkerRole role = WorkerRole::aggregated)
      : scheduler({config, role, true, false}) {}

  void submit(std::uint32_t id, std::int64_t prompt, std::int64_t output,
              const std::vector<kvbm::BlockHash>& blocks = {}, bool remote = false) {
    scheduler.submit({RequestId(id), prompt, output, kvbm::PromptBlocks(blocks), remote});
  }
  /// Begins a step; what is in it, as "decode sequences/context + prefill tokens".
  std::string begin() {
    outcome.clear();
    scheduler.begin_step(SimTime(Duration(time)), outcome);
    scheduler.check_invariants();
    const perf::StepBatch& b = scheduler.batch();
    return std::to_string(b.decode_sequences) + "/" + std::to_string(b.decode_context) + "+" +
           std::to_string(b.prefill_tokens);
  }
  /// Ends it; the tokens as "id:produced", a last one with "!".
  std::string end() {
    time += 10;
    scheduler.end_step(SimTime(Duration(time)), outcome);
    scheduler.check_invariants();
    std::string text;
    for (const TokenEvent& token : outcome.tokens) {
      text += (text.empty() ? "" : " ") + std::to_string(token.id.value()) + ":" +
              std::to_string(token.produced) + (token.finished ? "!" : "");
    }
    return text;
  }

  Scheduler scheduler;
  Outcome outcome;
  std::int64_t time = 0;
};

EngineConfig small(std::int64_t budget, std::int64_t blocks, int block_size = 4) {
  EngineConfig config;
  config.max_num_batched_tokens = budget;
  config.max_num_seqs = 4;
  config.block_size = block_size;
  config.kv_blocks = blocks;
  return config;
}

TEST_CASE("a long prompt is cut to the budget, and what is left of it goes to the next") {
  Bench b(small(10, 100));
  b.submit(1, 25, 2);
  b.submit(2, 3, 3);
  CHECK(b.begin() == "0/0+10");
  CHECK(b.outcome.admitted.size() == 1);
  CHECK(b.end().empty());
  CHECK(b.begin() == "0/0+10");
  CHECK(b.scheduler.batch().prefill_context == 10);
  CHECK(b.scheduler.batch().prefill_cross == 100);
  CHECK(b.scheduler.batch().sampled == 0);
  CHECK(b.end().empty());
  CHECK(b.begin() == "0/0+8");  // 5 of the first and 3 of the second
  CHECK(b.scheduler.batch().prefill_square == 25 + 9);
  CHECK(b.scheduler.batch().sampled == 2);
  CHECK(b.outcome.admitted.at(0).id == RequestId(2));
  CHECK(b.end() == "1:1 2:1");
  CHECK(b.begin() == "2/30+0");  // contexts 26 and 4
  CHECK(b.end() == "1:2! 2:2");
  CHECK(b.begin() == "1/5+0");
  CHECK(b.end() == "2:3!");
  CHECK_FALSE(b.scheduler.has_work());
  CHECK(b.scheduler.used_blocks() == 0);
}

TEST_CASE("decoding requests come first, a prompt gets what they leave of the budget") {
  Bench b(small(6, 100));
  b.submit(1, 4, 9);
  b.begin();
  b.end();
  b.submit(2, 12, 1);
  CHECK(b.begin() == "1/5+5");
  CHECK(b.end() == "1:2");
  CHECK(b.begin() == "1/6+5");
  CHECK(b.end() == "1:3");
  CHECK(b.begin() == "1/7+2");
  CHECK(b.end() == "1:4 2:1!");
}

TEST_CASE("sglang: prompts come first, and who decodes waits for them") {
  EngineConfig config = small(10, 100);
  config.kind = "sglang";
  Bench b(config);
  b.submit(1, 4, 3);
  CHECK(b.begin() == "0/0+4");
  CHECK(b.end() == "1:1");
  b.submit(2, 15, 2);
  CHECK(b.begin() == "0/0+8");  // no decode beside a prompt, which is cut into whole blocks
  CHECK(b.end().empty());
  CHECK(b.begin() == "0/0+7");
  CHECK(b.end() == "2:1");
  CHECK(b.begin() == "2/21+0");
  CHECK(b.end() == "1:2 2:2!");
  // The first waited from 10 to 40; the second, from 30 to 40, for no more than the step.
  const auto gaps = b.scheduler.resumed_gaps();
  CHECK(std::vector<Duration>(gaps.begin(), gaps.end()) == std::vector<Duration>{Duration(30)});
  CHECK(b.begin() == "1/6+0");
  CHECK(b.end() == "1:3!");
  CHECK(b.scheduler.used_blocks() == 0);
}

TEST_CASE("sglang: a request must fit beside a share of the output to come") {
  EngineConfig config = small(100, 12, 1);
  config.kind = "sglang";
  Bench b(config);
  b.submit(1, 4, 7);
  b.begin();
  b.end();
  // 0.7 of the 6 tokens to come are kept of the 8 blocks that are free: 3.8 are left.
  b.submit(2, 2, 2);
  CHECK(b.begin() == "1/5+0");
  b.end();
  Bench vllm(small(100, 12, 1));
  vllm.submit(1, 4, 7);
  vllm.begin();
  vllm.end();
  vllm.submit(2, 4, 4);
  CHECK(vllm.begin() == "1/5+4");
}

TEST_CASE("trtllm: nobody is admitted who might have to be preempted") {
  EngineConfig config = small(100, 12, 1);
  config.kind = "trtllm";
  Bench b(config);
  b.submit(1, 4, 5);  // 8 blocks to its last token
  b.submit(2, 2, 4);  // 5: one too many
  CHECK(b.begin() == "0/0+4");
  b.end();
  for (int i = 0; i < 4; ++i) {
    CHECK(b.begin().substr(0, 2) == "1/");
    b.end();
  }
  CHECK(b.begin() == "0/0+2");  // the first is done
  b.end();
  b.submit(3, 4, 4);  // 7 beside the 5 of the second: all twelve
  CHECK(b.begin() == "1/3+4");
  while (b.scheduler.has_work()) {
    b.end();
    b.begin();
  }
  CHECK(b.scheduler.preemptions() == 0);
}

TEST_CASE("without chunked prefill a prompt waits for a step that holds all of it") {
  EngineConfig config = small(10, 100);
  config.chunked_prefill = false;
  Bench b(config);
  b.submit(1, 6, 2);
  b.submit(2, 9, 1);
  b.submit(3, 1, 1);  // would fit, but the second is before it
  CHECK(b.begin() == "0/0+6");
  CHECK(b.end() == "1:1");
  CHECK(b.begin() == "1/7+9");
  CHECK(b.end() == "1:2! 2:1!");
  CHECK(b.begin() == "1/1+0");  // a prompt of one token is a decode to the attention kernel
  CHECK(b.end() == "3:1!");
}

TEST_CASE("no more run than max_num_seqs") {
  EngineConfig config = small(100, 100);
  config.max_num_seqs = 2;
  Bench b(config);
  for (std::uint32_t id = 1; id <= 3; ++id) {
    b.submit(id, 4, 2);
  }
  CHECK(b.begin() == "0/0+8");
  CHECK_FALSE(b.scheduler.may_admit());
  b.end();
  CHECK(b.begin() == "2/10+0");
  CHECK(b.end() == "1:2! 2:2!");
  CHECK(b.begin() == "0/0+4");
  CHECK(b.scheduler.waiting() == 0);
}

TEST_CASE("a cached prefix is not computed again, except for the last block of a full hit") {
  Bench b(small(100, 20));
  const auto shared = blocks(1, 3);
  b.submit(1, 12, 1, shared);
  CHECK(b.begin() == "0/0+12");
  b.end();
  CHECK(b.scheduler.cached_blocks() == 3);
  b.submit(2, 12, 1, shared);
  CHECK(b.begin() == "0/0+4");
  CHECK(b.outcome.admitted.at(0).cached_tokens == 8);
  b.end();
  const auto longer = blocks(1, 4);
  b.submit(3, 17, 1, longer);
  CHECK(b.begin() == "0/0+5");
  CHECK(b.outcome.admitted.at(0).cached_tokens == 12);
}

TEST_CASE("a request finds the blocks of one admitted in the same step") {
  Bench b(small(100, 20));
  const auto shared = blocks(1, 3);
  b.submit(1, 13, 1, shared);
  b.submit(2, 13, 1, shared);
  CHECK(b.begin() == "1/13+13");
  CHECK(b.outcome.admitted.at(1).cached_tokens == 12);
  CHECK(b.scheduler.used_blocks() == 3 + 1 + 1);
}

TEST_CASE("prefix caching can be switched off") {
  EngineConfig config = small(100, 20);
  config.prefix_caching = false;
  Bench b(config);
  const auto shared = blocks(1, 3);
  b.submit(1, 12, 1, shared);
  b.begin();
  b.end();
  CHECK(b.scheduler.cached_blocks() == 0);
  b.submit(2, 12, 1, shared);
  CHECK(b.begin() == "0/0+12");
}

TEST_CASE("where blocks run out the request admitted last is preempted and recomputed") {
  Bench b(small(100, 4));
  b.submit(1, 8, 6);  // 2 blocks, then a third
  b.submit(2, 7, 4);  // 2 blocks, then a third
  CHECK(b.begin() == "0/0+15");
  CHECK(b.end() == "1:1 2:1");
  CHECK(b.begin() == "1/9+0");  // the first needs a third block
  CHECK(b.outcome.preempted == std::vector<RequestId>{RequestId(2)});
  CHECK(b.scheduler.waiting() == 1);
  CHECK(b.end() == "1:2");
  // The second now has 8 tokens to recompute, which need 2 blocks; 1 is free.
  CHECK(b.begin() == "1/10+0");
  CHECK(b.outcome.admitted.empty());
  CHECK(b.scheduler.quiet_steps() == 4);  // until the first is done
  CHECK(b.end() == "1:3");
  CHECK(b.begin() == "1/11+0");
  CHECK(b.end() == "1:4");
  CHECK(b.begin() == "1/12+0");
  CHECK(b.end() == "1:5");
  CHECK(b.begin() == "1/13+0");  // takes the last block
  CHECK(b.end() == "1:6!");
  CHECK(b.begin() == "0/0+8");
  CHECK(b.outcome.admitted.empty());  // only the first admission counts
  CHECK(b.end() == "2:2");
  REQUIRE(b.scheduler.resumed_gaps().size() == 1);
  CHECK(b.scheduler.resumed_gaps()[0] == Duration(60));
  CHECK(b.scheduler.preemptions() == 1);
}

TEST_CASE("nobody is admitted in a step that preempted somebody") {
  Bench b(small(100, 4));
  b.submit(1, 8, 6);
  b.submit(2, 7, 4);
  b.begin();
  b.end();
  b.submit(3, 2, 1);
  b.begin();  // preempts 2 and frees two blocks, one of which is left
  CHECK(b.outcome.admitted.empty());
  b.end();
  b.begin();  // 2 is ahead of 3 and does not fit
  CHECK(b.outcome.admitted.empty());
  CHECK_FALSE(b.scheduler.may_admit());
}

TEST_CASE("the prefill role keeps the blocks until they are released") {
  Bench b(small(100, 6), WorkerRole::prefill);
  b.submit(1, 8, 50);
  b.submit(2, 12, 50);
  b.submit(3, 8, 50);
  CHECK(b.begin() == "0/0+20");
  CHECK(b.end().empty());
  CHECK(b.outcome.prefilled.size() == 2);
  CHECK(b.scheduler.used_blocks() == 5);
  CHECK(b.scheduler.held() == 2);
  CHECK(b.begin() == "0/0+0");  // one block is free, the third needs two
  b.scheduler.release_held(RequestId(1));
  CHECK(b.begin() == "0/0+8");
  b.end();
  b.scheduler.release_held(RequestId(2));
  b.scheduler.cancel(RequestId(3));
  CHECK(b.scheduler.used_blocks() == 0);
}

TEST_CASE("the decode role reserves, waits for the KV and computes the last prompt token again") {
  Bench b(small(100, 6), WorkerRole::decode);
  const auto prompt = blocks(1, 2);
  b.submit(1, 9, 3, prompt, true);
  CHECK(b.begin() == "0/0+0");
  CHECK(b.outcome.kv_wanted == std::vector<RequestId>{RequestId(1)});
  CHECK(b.outcome.admitted.empty());
  CHECK(b.scheduler.tokens_wanted(RequestId(1)) == 9);
  CHECK(b.scheduler.used_blocks() == 3);
  CHECK(b.scheduler.waiting() == 1);
  CHECK_FALSE(b.scheduler.has_work());
  b.scheduler.kv_received(RequestId(1));
  CHECK(b.scheduler.has_work());
  CHECK(b.begin() == "1/9+0");
  CHECK(b.outcome.admitted.at(0).cached_tokens == 0);
  CHECK(b.end() == "1:1");
  CHECK(b.begin() == "1/10+0");
  CHECK(b.end() == "1:2");
  b.begin();
  CHECK(b.end() == "1:3!");
  // The received prompt is cached here: the next needs only what follows.
  const auto longer = blocks(1, 3);
  b.submit(2, 13, 1, longer, true);
  b.begin();
  CHECK(b.scheduler.tokens_wanted(RequestId(2)) == 5);
}

TEST_CASE("requests whose KV arrived join in order of reservation, before the queue") {
  EngineConfig config = small(100, 50);
  config.max_num_seqs = 2;
  Bench b(config, WorkerRole::decode);
  b.submit(1, 4, 1, {}, true);
  b.submit(2, 4, 1, {}, true);
  b.submit(3, 4, 1, {}, true);
  CHECK(b.begin() == "0/0+0");
  CHECK(b.outcome.kv_wanted.size() == 3);
  b.submit(4, 4, 1);
  b.scheduler.kv_received(RequestId(3));
  b.scheduler.kv_received(RequestId(1));
  CHECK(b.begin() == "2/8+0");
  CHECK(b.end() == "1:1! 3:1!");
  CHECK(b.begin() == "0/0+4");
  CHECK(b.end() == "4:1!");
}

TEST_CASE("cancelling takes effect at once for a waiting request, else at the end of the step") {
  Bench b(small(8, 50));
  b.submit(1, 8, 5);
  b.submit(2, 8, 5);
  b.begin();
  CHECK_FALSE(b.scheduler.cancel(RequestId(2)));
  CHECK(b.scheduler.waiting() == 0);
  CHECK(b.scheduler.cancel(RequestId(1)));
  CHECK(b.scheduler.cancel(RequestId(1)));
  CHECK(b.scheduler.used_blocks() == 2);
  CHECK(b.end().empty());
  CHECK(b.scheduler.used_blocks() == 0);
  CHECK_FALSE(b.scheduler.cancel(RequestId(77)));
  b.submit(1, 8, 5);  // the id is free again
  CHECK(b.begin() == "0/0+8");
}

TEST_CASE("many steps at once are the same as one by one") {
  const auto run = [](bool at_once) {
    Bench b(small(100, 40));
    b.submit(1, 7, 30);
    b.submit(2, 10, 20);
    b.begin();
    b.end();
    b.begin();
    REQUIRE(b.scheduler.quiet_steps() == 19);
    if (at_once) {
      b.scheduler.repeat(18, SimTime{}, b.outcome);
    } else {
      for (int i = 0; i < 18; ++i) {
        b.end();
        b.begin();
      }
    }
    b.scheduler.check_invariants();
    const std::int64_t used = b.scheduler.used_blocks();
    const std::int64_t context = b.scheduler.batch().decode_context;
    b.outcome.clear();
    return std::make_tuple(used, context, b.end());
  };
  CHECK(run(true) == run(false));
}

TEST_CASE("a request that exceeds the pool does not fit") {
  Bench b(small(100, 4));
  const auto request = [](std::int64_t prompt, std::int64_t output) {
    return EngineRequest{RequestId(1), prompt, output, {}, false};
  };
  CHECK(b.scheduler.fits(request(10, 7)));  // the last token needs no KV
  CHECK_FALSE(b.scheduler.fits(request(10, 8)));
  Bench prefill(small(100, 4), WorkerRole::prefill);
  CHECK(prefill.scheduler.fits(request(16, 1000)));
}

TEST_CASE("a sequence that speculates is as far as the tokens that it has kept") {
  EngineConfig config = small(40, 100);
  config.speculation = SpeculationConfig{};
  config.speculation->draft_tokens = 3;
  config.speculation->acceptance_length = 2.5;
  Bench b(config);
  b.submit(1, 8, 30);
  b.begin();
  CHECK(b.end() == "1:1");
  for (int i = 0; i < 4; ++i) {
    b.begin();
    b.end();
  }
  CHECK(b.scheduler.progress(RequestId(1)).produced == 11);
  CHECK(b.scheduler.progress(RequestId(1)).computed == 18);
}

}  // namespace
