#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "loopback.h"

// Prefill and decode pools of real engines: who gets which request, and what each failure gives.
using namespace dyn;
using namespace dyn::test;
using namespace std::chrono_literals;
using Json = nlohmann::json;

namespace {

constexpr const char* kChat = "/v1/chat/completions";
const std::string kStream = R"(,"stream":true,"max_tokens":5)";

Json body_of(const std::string& request) {
  return Json::parse(request.substr(request.find("\r\n\r\n") + 4));
}

std::string header_of(const std::string& request, const std::string& name) {
  const std::size_t at = request.find("\r\n" + name + ": ");
  return at == std::string::npos ? "" : request.substr(at, request.find("\r\n", at + 2) - at);
}

void send_json(Connection& c, const std::string& body, const std::string& status = "200 OK") {
  c.send("HTTP/1.1 " + status + "\r\nContent-Type: application/json\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body);
}

/// An engine that prefills and tells where the KV is.
FakeEngine::Handler prefills(const std::string& params = R"({"remote_block_ids":[4,2]})") {
  return [params](Connection& c, const std::string&) {
    send_json(c, R"({"choices":[{"finish_reason":"length"}],"usage":{"completion_tokens":1,
                "prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":7}},
                "kv_transfer_params":)" +
                     params + "}");
  };
}

std::string token(int i) {
  return R"(data: {"choices":[{"delta":{"content":"t)" + std::to_string(i) + "\"}}]}\n\n";
}

const std::string kTokens =
    token(0) + token(1) +
    R"(data: {"choices":[],"usage":{"completion_tokens":2,"prompt_tokens":9,)"
    R"("prompt_tokens_details":{"cached_tokens":9}}})"
    "\n\ndata: [DONE]\n\n";

/// An engine that streams two tokens.
void decodes(Connection& c, const std::string&) {
  c.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: " +
         std::to_string(kTokens.size()) + "\r\n\r\n" + kTokens);
}

std::string dead_url() {
  const FakeEngine engine(decodes);
  return engine.url();
}

Plan handing_plan(const std::vector<std::string>& prefill, const std::vector<std::string>& decode) {
  Plan plan = relaying_plan(prefill);
  plan.pools.push_back(relaying_plan(decode).pools[0]);
  plan.pools[0].role = WorkerRole::prefill;
  plan.pools[1].role = WorkerRole::decode;
  return plan;
}

}  // namespace

TEST_CASE("a prompt is prefilled by one engine and decoded by another") {
  FakeEngine prefill(prefills());
  FakeEngine decode(decodes);
  RunningServer server(handing_plan({prefill.url()}, {decode.url()}));
  const std::string body = chat(kStream + R"(,  "odd": 2.50)");
  const HttpAnswer answer = server.ask(post(kChat, body, "Authorization: Bearer key\r\n"));
  CHECK(answer.status == 200);
  CHECK(answer.complete);
  CHECK(answer.body == kTokens);

  const Json asked = body_of(prefill.last_request());
  CHECK(asked["max_tokens"] == 1);
  CHECK(asked["stream"] == false);
  CHECK(asked["kv_transfer_params"]["do_remote_decode"] == true);
  const std::string sent = decode.last_request();
  CHECK(body_of(sent)["kv_transfer_params"] == Json::parse(R"({"remote_block_ids":[4,2]})"));
  CHECK(sent.find(body.substr(1)) != std::string::npos);  // the rest byte for byte
  CHECK_FALSE(header_of(sent, "X-Request-Id").empty());
  CHECK(header_of(sent, "X-Request-Id") == header_of(prefill.last_request(), "X-Request-Id"));
  CHECK(header_of(prefill.last_request(), "Authorization") == "\r\nAuthorization: Bearer key");
  CHECK(header_of(sent, "Authorization") == "\r\nAuthorization: Bearer key");

  CHECK(server.metric_becomes("dyn_requests_in_flight", 0));
  CHECK(server.metric("dyn_generation_tokens_total") == 2);
  CHECK(server.metric("dyn_prompt_tokens_cached_total") == 7);  // not what was handed over
  CHECK(server.metric("dyn_router_requests_active{") == 0);
}

TEST_CASE("a whole answer is handed over too") {
  FakeEngine prefill(prefills());
  const std::string whole = R"({"choices":[{"message":{"content":"hi"}}]})";
  FakeEngine decode([&](Connection& c, const std::string&) { send_json(c, whole); });
  RunningServer server(handing_plan({prefill.url()}, {decode.url()}));
  CHECK(server.ask(post(kChat, chat())).body == whole);
  CHECK_FALSE(body_of(decode.last_request()).contains("stream"));
}

TEST_CASE("a prompt whose first token ends it is decoded without a hand-over") {
  FakeEngine prefill([](Connection& c, const std::string&) {
    send_json(c, R"({"choices":[{"finish_reason":"stop"}],"kv_transfer_params":null})");
  });
  FakeEngine decode(decodes);
  RunningServer server(handing_plan({prefill.url()}, {decode.url()}));
  CHECK(server.ask(post(kChat, chat(kStream))).body == kTokens);
  CHECK_FALSE(body_of(decode.last_request()).contains("kv_transfer_params"));
}

TEST_CASE("a prefill engine's refusal is the answer, and no decode engine is asked") {
  const std::string refusal = R"({"error":{"message":"too long","code":400}})";
  FakeEngine prefill(
      [&](Connection& c, const std::string&) { send_json(c, refusal, "400 Bad Request"); });
  FakeEngine decode(decodes);
  RunningServer server(handing_plan({prefill.url()}, {decode.url()}));
  const HttpAnswer answer = server.ask(post(kChat, chat(kStream)));
  CHECK(answer.status == 400);
  CHECK(answer.body == refusal);
  CHECK(decode.requests() == 0);
  CHECK(server.metric("dyn_worker_available{") == 1);
}

TEST_CASE("a prefill engine without a KV connector is named") {
  FakeEngine prefill([](Connection& c, const std::string&) {
    send_json(c, R"({"choices":[{"finish_reason":"length"}]})");
  });
  FakeEngine decode(decodes);
  RunningServer server(handing_plan({prefill.url()}, {decode.url()}));
  const HttpAnswer answer = server.ask(post(kChat, chat(kStream)));
  CHECK(answer.status == 502);
  CHECK(answer.body.find("no_kv_transfer") != std::string::npos);
  CHECK(answer.body.find("--kv-transfer-config") != std::string::npos);
  CHECK(decode.requests() == 0);
}

TEST_CASE("a decode engine that cannot be reached is replaced, and the prompt computed once") {
  FakeEngine prefill(prefills());
  FakeEngine decode(decodes);
  Plan plan = handing_plan({prefill.url()}, {dead_url(), decode.url()});
  plan.router.kind = RouterKind::round_robin;
  RunningServer server(plan);
  for (int i = 0; i < 4; ++i) {
    CHECK(server.ask(post(kChat, chat(kStream))).body == kTokens);
  }
  CHECK(prefill.requests() == 4);
  CHECK(decode.requests() == 4);
}

TEST_CASE("with every decode engine gone no prompt is computed") {
  FakeEngine prefill(prefills());
  RunningServer server(handing_plan({prefill.url()}, {dead_url()}));
  CHECK(server.ask(post(kChat, chat(kStream))).status == 502);
  CHECK(prefill.requests() == 1);
  const HttpAnswer answer = server.ask(post(kChat, chat(kStream)));
  CHECK(answer.status == 503);
  CHECK(answer.body.find("no_workers") != std::string::npos);
  CHECK(prefill.requests() == 1);
  CHECK(server.ask(get("/health")).status == 503);
}

TEST_CASE("a leg that breaks off or falls silent gives up both") {
  std::string code;
  FakeEngine::Handler first = prefills();
  FakeEngine::Handler second = decodes;
  const auto breaks = [](Connection& c, const std::string&) { c.reset(); };
  const auto sleeps = [](Connection& c, const std::string&) { c.read_some(); };
  SECTION("the prefill engine breaks off") {
    first = breaks;
    code = "engine_broken";
  }
  SECTION("the prefill engine falls silent") {
    first = sleeps;
    code = "engine_timeout";
  }
  SECTION("the decode engine breaks off") {
    second = breaks;
    code = "engine_broken";
  }
  SECTION("the decode engine falls silent") {
    second = sleeps;
    code = "engine_timeout";
  }
  FakeEngine prefill(first);
  FakeEngine decode(second);
  Plan plan = handing_plan({prefill.url()}, {decode.url()});
  for (PoolSpec& pool : plan.pools) {
    pool.engine.first_token_timeout = 200ms;
    pool.engine.token_timeout = 200ms;
  }
  RunningServer server(plan);
  const HttpAnswer answer = server.ask(post(kChat, chat(kStream)));
  CHECK(answer.status == (code == "engine_timeout" ? 504 : 502));
  CHECK(answer.body.find(code) != std::string::npos);
  for (const char* pool : {"prefill", "decode"}) {
    CHECK(server.metric_becomes(
        "dyn_router_requests_active{model=\"test/model\",pool=\"" + std::string(pool) + "\"", 0));
  }
}

TEST_CASE("a client that leaves ends its request at the engine that has it") {
  std::atomic<bool> noticed{false};
  const auto waits = [&](Connection& c, const std::string&) { noticed = c.read_some().empty(); };
  const bool at_prefill = GENERATE(true, false);
  FakeEngine prefill(at_prefill ? FakeEngine::Handler(waits) : prefills());
  FakeEngine decode(waits);
  RunningServer server(handing_plan({prefill.url()}, {decode.url()}));
  {
    Connection connection(server.port());
    connection.send(post(kChat, chat(kStream)));
    FakeEngine& last = at_prefill ? prefill : decode;
    for (int i = 0; i < 2000 && last.requests() == 0; ++i) {
      std::this_thread::sleep_for(10ms);
    }
  }
  CHECK(server.metric_becomes("dyn_requests_in_flight", 0));
  for (int i = 0; i < 2000 && !noticed; ++i) {
    std::this_thread::sleep_for(10ms);
  }
  CHECK(noticed);
  CHECK(decode.requests() == (at_prefill ? 0 : 1));
}

TEST_CASE("a pool of engines and a simulated one do not make a pair") {
  Plan plan = handing_plan({dead_url()}, {dead_url()});
  plan.pools[1].engine = EngineTarget{};
  serve::ServeOptions options;
  options.port = 0;
  CHECK_THROWS_WITH(serve::Server(plan, options), Catch::Contains("engines of one kind"));
}
