#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "loopback.h"

namespace {

using namespace dyn;
using namespace dyn::test;

/// 1 ms a step and 50 us a prompt token.
class PromptTimer final : public perf::StepTimer {
 public:
  Duration step_time(const perf::StepBatch& batch) const noexcept override {
    return std::chrono::milliseconds(1) + std::chrono::microseconds(50) * batch.prefill_tokens;
  }
};

/// One or two workers of 100 blocks, 64 KiB each.
Plan small_plan(int replicas) {
  Plan plan = aggregated_plan(replicas);
  plan.pools[0].config.kv_blocks = 100;
  plan.model.layers = 2;
  plan.model.attention.heads = 8;
  plan.model.attention.kv_heads = 8;
  plan.model.attention.head_dim = 64;
  plan.router.kind = RouterKind::round_robin;
  return plan;
}

std::int64_t cached_tokens(RunningServer& server, char letter) {
  const std::string body =
      R"({"model":"test/model","max_tokens":2,"prompt":")" + std::string(1000, letter) + "\"}";
  const HttpAnswer answer = server.ask(post("/v1/completions", body));
  REQUIRE(answer.status == 200);
  return nlohmann::json::parse(answer.body)["usage"]["prompt_tokens_details"]["cached_tokens"];
}

void use_prompt_timer(serve::ServeOptions& options) {
  options.make_timer = [](const PoolSpec&) { return std::make_shared<PromptTimer>(); };
}

TEST_CASE("a simulated worker loads from host memory what its device has lost") {
  for (const bool tiers : {false, true}) {
    Plan plan = small_plan(1);
    if (tiers) {
      plan.kv_tiers.host.emplace().capacity = Bytes(64 << 20);
    }
    RunningServer server(plan, {}, use_prompt_timer);
    CHECK(cached_tokens(server, 'a') == 0);
    CHECK(cached_tokens(server, 'b') == 0);
    const std::int64_t again = cached_tokens(server, 'a');
    CHECK((again == 992) == tiers);
    CHECK(again < 1000);
  }
}

TEST_CASE("simulated workers that share a tier find each other's blocks") {
  Plan plan = small_plan(2);
  plan.kv_tiers.host.emplace().capacity = Bytes(64 << 20);
  plan.kv_tiers.host->scope = TierScope::shared;
  RunningServer server(plan, {}, use_prompt_timer);
  CHECK(cached_tokens(server, 'a') == 0);
  CHECK(cached_tokens(server, 'a') == 992);
}

TEST_CASE("a router that sees host memory sends prompts to the simulated worker that has them") {
  Plan plan = small_plan(2);
  plan.kv_tiers.host.emplace().capacity = Bytes(256 << 20);
  plan.router.kind = RouterKind::kv_aware;
  plan.router.host_credit = 1;
  RunningServer server(plan, {}, use_prompt_timer);
  const std::string letters = "abcdefghijkl";  // the devices keep three of these
  for (const char letter : letters) {
    CHECK(cached_tokens(server, letter) == 0);
  }
  for (const char letter : letters) {
    CHECK(cached_tokens(server, letter) == 992);
  }
}

}  // namespace
