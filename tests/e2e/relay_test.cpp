#include <catch2/catch.hpp>
#include <string>

#include "loopback.h"

using namespace dyn;
using namespace dyn::test;
using namespace std::chrono_literals;

namespace {

constexpr const char* kChat = "/v1/chat/completions";
const std::string kStreamHead =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

std::string chunked(const std::string& data) {
  char size[20];
  std::snprintf(size, sizeof size, "%zx\r\n", data.size());
  return size + data + "\r\n";
}

std::string token(const std::string& text) {
  return R"(data: {"choices":[{"delta":{"content":")" + text + "\"}}]}\n\n";
}

/// Answers every request with a stream of these tokens.
FakeEngine::Handler streams(int tokens) {
  return [tokens](Connection& c, const std::string&) {
    c.send(kStreamHead);
    for (int i = 0; i < tokens; ++i) {
      c.send(chunked(token("t" + std::to_string(i))));
    }
    c.send(chunked("data: [DONE]\n\n") + "0\r\n\r\n");
  };
}

/// A port on which nobody listens.
std::uint16_t free_port() {
  const FakeEngine engine(streams(0));
  return engine.port();
}

std::string dead_url() {
  return "http://127.0.0.1:" + std::to_string(free_port());
}

}  // namespace

TEST_CASE("a relayed stream comes through byte for byte, and the request goes out unchanged") {
  const std::string odd = token("caf\u00e9 \\u2028 \U0001F600") + ": ping\r\n\r\n" +
                          "data: {\"choices\":[],\"x\":1}\n\ndata: [DONE]\n\n";
  FakeEngine engine([&](Connection& c, const std::string&) {
    c.send(kStreamHead);
    for (const char byte : odd) {  // one byte a chunk
      c.send(chunked(std::string(1, byte)));
    }
    c.send("0\r\n\r\n");
  });
  RunningServer server(relaying_plan({engine.url()}));
  const std::string body = chat(R"( , "stream":true,  "weird": [1, 2.50, {"k":"v"}])");
  const HttpAnswer answer =
      server.ask(post(kChat, body, "Authorization: Bearer secret\r\nCookie: no\r\n"));
  CHECK(answer.status == 200);
  CHECK(answer.complete);
  CHECK(answer.body == odd);
  CHECK(answer.head.find("text/event-stream") != std::string::npos);
  const std::string sent = engine.last_request();
  CHECK(sent.substr(sent.size() - body.size()) == body);
  CHECK(sent.find("Authorization: Bearer secret") != std::string::npos);
  CHECK(sent.find("Cookie") == std::string::npos);
}

TEST_CASE("a relayed whole answer keeps its status, type and bytes") {
  const std::string body = R"({"error":{"message":"bad  spacing"}})";
  FakeEngine engine([&](Connection& c, const std::string&) {
    c.send("HTTP/1.1 422 Odd\r\nContent-Type: application/problem+json\r\nContent-Length: " +
           std::to_string(body.size()) + "\r\n\r\n" + body);
  });
  RunningServer server(relaying_plan({engine.url()}));
  const HttpAnswer answer = server.ask(post(kChat, chat()));
  CHECK(answer.status == 422);
  CHECK(answer.body == body);
  CHECK(answer.head.find("application/problem+json") != std::string::npos);
}

TEST_CASE("an engine's own error is passed on and the engine stays in use") {
  FakeEngine engine([&](Connection& c, const std::string&) {
    c.send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops");
  });
  RunningServer server(relaying_plan({engine.url()}));
  CHECK(server.ask(post(kChat, chat())).body == "oops");
  CHECK(server.ask(post(kChat, chat())).status == 500);
  CHECK(server.metric("dyn_worker_available{") == 1);
}

TEST_CASE("without an engine the first answer is 502, then 503 until it is back") {
  const std::uint16_t port = free_port();
  RunningServer server(relaying_plan({"http://127.0.0.1:" + std::to_string(port)}));
  const HttpAnswer first = server.ask(post(kChat, chat()));
  CHECK(first.status == 502);
  CHECK(first.body.find("engine_unreachable") != std::string::npos);
  const HttpAnswer second = server.ask(post(kChat, chat()));
  CHECK(second.status == 503);
  CHECK(second.body.find("no_workers") != std::string::npos);
  CHECK(server.ask(get("/health")).status == 503);
  FakeEngine engine(streams(2), port);
  CHECK(server.metric_becomes("dyn_worker_available{", 1));
  CHECK(server.ask(post(kChat, chat(R"(,"stream":true)"))).status == 200);
  CHECK(server.ask(get("/health")).status == 200);
}

TEST_CASE("a request that an engine never saw goes to another") {
  FakeEngine engine(streams(3));
  Plan plan = relaying_plan({dead_url(), engine.url()});
  plan.router.kind = RouterKind::round_robin;
  RunningServer server(plan);
  for (int i = 0; i < 4; ++i) {
    CHECK(server.ask(post(kChat, chat(R"(,"stream":true)"))).status == 200);
  }
  CHECK(engine.requests() == 4);
}

TEST_CASE("an engine that breaks off") {
  SECTION("before it answers gives 502") {
    FakeEngine engine([](Connection& c, const std::string&) { c.reset(); });
    RunningServer server(relaying_plan({engine.url()}));
    const HttpAnswer answer = server.ask(post(kChat, chat(R"(,"stream":true)")));
    CHECK(answer.status == 502);
    CHECK(answer.body.find("engine_broken") != std::string::npos);
    CHECK(engine.requests() == 1);  // it may have begun: not tried again
    // Its /health answers, so it comes back.
    CHECK(server.metric_becomes("dyn_worker_available{", 1));
  }
  SECTION("within its stream gives an error event and no proper end") {
    FakeEngine engine([](Connection& c, const std::string&) {
      c.send(kStreamHead + chunked(token("one")) + chunked("data: {\"cho"));
      c.reset();
    });
    RunningServer server(relaying_plan({engine.url()}));
    const HttpAnswer answer = server.ask(post(kChat, chat(R"(,"stream":true)")));
    CHECK(answer.status == 200);
    CHECK_FALSE(answer.complete);
    CHECK(answer.body.find("engine_broken") != std::string::npos);
    CHECK(answer.body.find("[DONE]") == std::string::npos);
    CHECK(server.metric_becomes("dyn_router_requests_active{", 0));
  }
  SECTION("by a clean close in the middle of a chunked answer too") {
    FakeEngine engine(
        [](Connection& c, const std::string&) { c.send(kStreamHead + chunked(token("one"))); });
    RunningServer server(relaying_plan({engine.url()}));
    const HttpAnswer answer = server.ask(post(kChat, chat(R"(,"stream":true)")));
    CHECK_FALSE(answer.complete);
    CHECK(answer.body.find("engine_broken") != std::string::npos);
  }
  SECTION("with nonsense gives 502") {
    FakeEngine engine([](Connection& c, const std::string&) { c.send("what?\r\n\r\n"); });
    RunningServer server(relaying_plan({engine.url()}));
    CHECK(server.ask(post(kChat, chat())).status == 502);
  }
}

TEST_CASE("an engine that falls silent is given up") {
  std::atomic<bool> over{false};
  bool begins = false;
  SECTION("before its first token") {}
  SECTION("between two tokens") {
    begins = true;
  }
  FakeEngine engine([&](Connection& c, const std::string&) {
    if (begins) {
      c.send(kStreamHead + chunked(token("one")));
    }
    while (!over && c.read_some().empty() && !over) {
      break;  // the server closed the connection
    }
  });
  Plan plan = relaying_plan({engine.url()});
  plan.pools[0].engine.first_token_timeout = 200ms;
  plan.pools[0].engine.token_timeout = 200ms;
  RunningServer server(plan);
  const HttpAnswer answer = server.ask(post(kChat, chat(R"(,"stream":true)")));
  over = true;
  CHECK(answer.status == (begins ? 200 : 504));
  CHECK(answer.body.find("engine_timeout") != std::string::npos);
  CHECK(server.metric_becomes("dyn_router_requests_active{", 0));
}

TEST_CASE("a client that leaves ends its request at the engine") {
  std::atomic<bool> noticed{false};
  FakeEngine engine([&](Connection& c, const std::string&) {
    c.send(kStreamHead + chunked(token("one")));
    noticed = c.read_some().empty();  // until the server closes
  });
  RunningServer server(relaying_plan({engine.url()}));
  Connection connection(server.port());
  connection.send(post(kChat, chat(R"(,"stream":true)")));
  connection.read_until("one");
  connection.close();
  CHECK(server.metric_becomes("dyn_router_requests_active{", 0));
  CHECK(server.metric_becomes("dyn_worker_requests_running{", 0));
  for (int i = 0; i < 2000 && !noticed; ++i) {
    std::this_thread::sleep_for(10ms);
  }
  CHECK(noticed);
}

TEST_CASE("a slow client holds the engine back instead of filling the server's memory") {
  const std::string block(64 << 10, 'x');
  std::atomic<std::size_t> sent{0};
  constexpr std::size_t kTotal = 24 << 20;
  FakeEngine engine([&](Connection& c, const std::string&) {
    c.send(kStreamHead);
    while (sent < kTotal && c.send(chunked(block))) {
      sent += block.size();
    }
    c.send("0\r\n\r\n");
  });
  RunningServer server(relaying_plan({engine.url()}), 1ms,
                       [](serve::ServeOptions& o) { o.limits.relay_bytes = 256 << 10; });
  Connection connection(server.port());
  connection.send(post(kChat, chat(R"(,"stream":true)")));
  std::size_t before = 0;
  do {  // until the engine cannot send on
    before = sent;
    std::this_thread::sleep_for(300ms);
  } while (sent != before);
  CHECK(sent < kTotal);
  const HttpAnswer answer = connection.read_answer();
  CHECK(answer.complete);
  CHECK(answer.body.size() == kTotal);
}

TEST_CASE("prompts that begin alike go to the engine that has seen them") {
  FakeEngine one(streams(1));
  FakeEngine two(streams(1));
  RunningServer server(relaying_plan({one.url(), two.url()}));
  for (int i = 0; i < 10; ++i) {
    server.ask(post(kChat, chat(R"(,"stream":true)", std::string(400, 'p') + std::to_string(i))));
  }
  CHECK(std::max(one.requests(), two.requests()) == 10);
}
