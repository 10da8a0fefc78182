#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "dyn/core/error.h"
#include "loopback.h"

using namespace dyn;
using namespace dyn::test;
using namespace std::chrono_literals;
using Json = nlohmann::json;

namespace {

constexpr const char* kChat = "/v1/chat/completions";
constexpr const char* kCompletions = "/v1/completions";
constexpr const char* kUsed = "dyn_worker_kv_cache_usage_ratio{";

/// The data of each event of a stream.
std::vector<std::string> events_of(const std::string& body) {
  std::vector<std::string> events;
  std::istringstream lines(body);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("data: ", 0) == 0) {
      events.push_back(line.substr(6));
    }
  }
  return events;
}

std::string text_of(const std::vector<std::string>& events) {
  std::string text;
  for (const std::string& event : events) {
    const Json json = Json::parse(event, nullptr, false);
    if (!json.is_discarded() && json.contains("choices") && !json["choices"].empty()) {
      const Json& choice = json["choices"][0];
      text += choice.contains("delta") ? choice["delta"].value("content", "")
                                       : choice.value("text", "");
    }
  }
  return text;
}

std::string error_code(const HttpAnswer& answer) {
  const Json json = Json::parse(answer.body, nullptr, false);
  if (json.is_discarded()) {
    return "not JSON: " + answer.body;
  }
  return json["error"]["code"].is_null() ? "null" : json["error"]["code"].get<std::string>();
}

}  // namespace

TEST_CASE("a chat is answered whole, with its usage") {
  RunningServer server(aggregated_plan());
  const HttpAnswer answer = server.ask(post(kChat, chat(R"(,"max_tokens":20)")));
  REQUIRE(answer.status == 200);
  const Json json = Json::parse(answer.body);
  CHECK(json["model"] == "test/model");
  CHECK(json["usage"]["prompt_tokens"] == 29);  // <|user|>\nHello\n<|assistant|>\n
  CHECK(json["usage"]["completion_tokens"] == 20);
  CHECK(json["choices"][0]["finish_reason"] == "length");
  CHECK_FALSE(json["choices"][0]["message"]["content"].get<std::string>().empty());
}

TEST_CASE("a stream says the same as the whole answer, one token an event") {
  RunningServer server(aggregated_plan());
  const HttpAnswer whole = server.ask(post(kChat, chat(R"(,"max_tokens":20)")));
  const HttpAnswer stream = server.ask(post(
      kChat, chat(R"(,"max_tokens":20,"stream":true,"stream_options":{"include_usage":true})")));
  REQUIRE(stream.status == 200);
  CHECK(stream.complete);
  CHECK(stream.head.find("text/event-stream") != std::string::npos);
  const auto events = events_of(stream.body);
  REQUIRE(events.size() == 1 + 20 + 1 + 1 + 1);  // role, tokens, reason, usage, end
  CHECK(events.back() == "[DONE]");
  CHECK(text_of(events) ==
        Json::parse(whole.body)["choices"][0]["message"]["content"].get<std::string>());
  const Json usage = Json::parse(events[events.size() - 2]);
  CHECK(usage["usage"]["completion_tokens"] == 20);
  // The second time the prompt's full block is in the cache.
  CHECK(usage["usage"]["prompt_tokens_details"]["cached_tokens"] == 16);
}

TEST_CASE("a stop string ends the answer and frees the request") {
  RunningServer server(aggregated_plan());
  const std::string body = R"({"model":"test/model","prompt":"x","max_tokens":4000,"stop":".")";
  const HttpAnswer whole = server.ask(post(kCompletions, body + "}"));
  const Json json = Json::parse(whole.body);
  CHECK(json["choices"][0]["finish_reason"] == "stop");
  CHECK(json["usage"]["completion_tokens"] == 12);
  CHECK(json["choices"][0]["text"].get<std::string>().find('.') == std::string::npos);
  const HttpAnswer stream = server.ask(post(kCompletions, body + R"(,"stream":true})"));
  CHECK(text_of(events_of(stream.body)) == json["choices"][0]["text"].get<std::string>());
  CHECK(server.metric_becomes(kUsed, 0));
}

TEST_CASE("the wrong requests get the right refusals") {
  RunningServer server(aggregated_plan(), 1ms, [](serve::ServeOptions& o) {
    o.limits.body_bytes = 10'000;
    o.limits.header_bytes = 4'000;
    o.limits.headers = 20;
  });
  const auto code = [&](const std::string& request, int status) {
    const HttpAnswer answer = server.ask(request);
    CHECK(answer.status == status);
    return error_code(answer);
  };
  CHECK(code(post(kChat, "{"), 400) == "invalid_json");
  CHECK(code(post(kChat, "{\"model\":\"\xff\"}"), 400) == "invalid_json");
  CHECK(code(post(kChat, R"({"model":"other","messages":[{"role":"user","content":"x"}]})"), 404) ==
        "model_not_found");
  CHECK(code(post(kChat, chat(R"(,"max_tokens":4090)")), 400) == "context_length_exceeded");
  CHECK(code(post(kChat, chat(R"(,"n":2)")), 400) == "null");
  CHECK(code(post(kChat, std::string(20'000, ' ')), 413) == "body_too_large");
  CHECK(code(get("/v1/nothing"), 404) == "not_found");
  CHECK(code(get(kChat), 405) == "method_not_allowed");
  CHECK(code(post("/health", ""), 405) == "method_not_allowed");
  CHECK(code("GET /live HTTP/1.1\r\nX: " + std::string(8'000, 'x') + "\r\n\r\n", 431) ==
        "header_too_large");
  std::string many = "GET /live HTTP/1.1\r\n";
  for (int i = 0; i < 30; ++i) {
    many += "X" + std::to_string(i) + ": y\r\n";
  }
  CHECK(code(many + "\r\n", 431) == "header_too_large");
  CHECK(code("NONSENSE\r\n\r\n", 400) == "bad_request");
  CHECK(code("POST " + std::string(kChat) +
                 " HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
             400) == "bad_request");
  // And after all of these it still serves.
  CHECK(server.ask(post(kChat, chat(R"(,"max_tokens":1)"))).status == 200);
}

TEST_CASE("models, health and metrics are there, with HEAD too") {
  RunningServer server(aggregated_plan());
  CHECK(Json::parse(server.ask(get("/v1/models")).body)["data"][0]["id"] == "test/model");
  CHECK(server.ask(get("/health")).status == 200);
  CHECK(server.ask(get("/live?x=1")).status == 200);
  server.ask(post(kChat, chat(R"(,"max_tokens":3)")));
  CHECK(server.metric("dyn_generation_tokens_total") == 3);
  CHECK(server.metric("dyn_time_to_first_token_seconds_count") == 1);
  CHECK(server.metric_becomes(kUsed, 0));
  Connection connection(server.port());
  connection.send(get("/health", "HEAD"));
  const HttpAnswer head = connection.read_answer(true);
  CHECK(head.status == 200);
  connection.send(get("/live"));  // nothing of a body lies before this answer
  CHECK(connection.read_answer().body == "{\"status\":\"ok\"}");
}

TEST_CASE("requests sent ahead are answered in their order on one connection") {
  RunningServer server(aggregated_plan());
  Connection connection(server.port());
  std::string all;
  for (int tokens : {5, 3, 9}) {
    all += post(kChat, chat(R"(,"stream":true,"max_tokens":)" + std::to_string(tokens)));
  }
  connection.send(all + get("/live"));
  for (int tokens : {5, 3, 9}) {
    const HttpAnswer answer = connection.read_answer();
    CHECK(answer.complete);
    CHECK(events_of(answer.body).size() == static_cast<std::size_t>(tokens) + 3);
  }
  CHECK(connection.read_answer().body == "{\"status\":\"ok\"}");
}

TEST_CASE("HTTP/1.0 gets its stream without chunks, ended by the close") {
  RunningServer server(aggregated_plan());
  const std::string body = chat(R"(,"stream":true,"max_tokens":2)");
  const HttpAnswer answer =
      server.ask("POST " + std::string(kChat) +
                 " HTTP/1.0\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  CHECK(answer.head.find("chunked") == std::string::npos);
  CHECK(events_of(answer.body).back() == "[DONE]");
}

TEST_CASE("100-continue is granted") {
  RunningServer server(aggregated_plan());
  Connection connection(server.port());
  const std::string body = chat(R"(,"max_tokens":1)");
  const std::string request = post(kChat, body, "Expect: 100-continue\r\n");
  connection.send(request.substr(0, request.size() - body.size()));
  CHECK(connection.read_until("\r\n\r\n").find("100 Continue") != std::string::npos);
  connection.send(body);
  CHECK(connection.read_answer().status == 200);
}

TEST_CASE("slow requests get 408 and idle connections are closed") {
  RunningServer server(aggregated_plan(), 1ms, [](serve::ServeOptions& o) {
    o.limits.header_timeout = 100ms;
    o.limits.body_timeout = 100ms;
    o.limits.idle_timeout = 100ms;
  });
  Connection header(server.port());
  header.send("GET /live HT");
  CHECK(header.read_answer().status == 408);
  Connection body(server.port());
  body.send(post(kChat, chat()).substr(0, 120));
  CHECK(body.read_answer().status == 408);
  Connection idle(server.port());
  CHECK(idle.read_some().empty());
}

TEST_CASE("a client that leaves frees its request at once") {
  RunningServer server(aggregated_plan(), 2ms);
  SECTION("while it streams") {
    Connection connection(server.port());
    connection.send(post(kChat, chat(R"(,"stream":true,"max_tokens":4000)")));
    connection.read_until("content");
    CHECK(server.metric("dyn_worker_requests_running{") == 1);
    connection.close();
  }
  SECTION("by a reset") {
    Connection connection(server.port());
    connection.send(post(kChat, chat(R"(,"stream":true,"max_tokens":4000)")));
    connection.read_until("content");
    connection.reset();
  }
  SECTION("while it waits for a whole answer") {
    Connection connection(server.port());
    connection.send(post(kChat, chat(R"(,"max_tokens":4000)")));
    REQUIRE(server.metric_becomes("dyn_worker_requests_running{", 1));
    connection.close();
  }
  SECTION("with another request sent ahead") {
    Connection connection(server.port());
    const std::string request = post(kChat, chat(R"(,"stream":true,"max_tokens":4000)"));
    connection.send(request + request);
    connection.read_until("content");
    connection.close();
  }
  CHECK(server.metric_becomes("dyn_worker_requests_running{", 0));
  CHECK(server.metric_becomes(kUsed, 0));
  CHECK(server.metric_becomes("dyn_router_requests_active{", 0));
  CHECK(server.metric_becomes("dyn_requests_in_flight{", 0));
  CHECK(server.metric("dyn_client_disconnects_total{") == 1);
}

TEST_CASE("prefill and decode workers answer as one worker does") {
  RunningServer apart(disaggregated_plan());
  RunningServer together(aggregated_plan());
  const std::string request = post(kChat, chat(R"(,"max_tokens":30)", std::string(500, 'y')));
  const HttpAnswer answer = apart.ask(request);
  REQUIRE(answer.status == 200);
  const Json one = Json::parse(answer.body);
  const Json other = Json::parse(together.ask(request).body);
  CHECK(one["choices"] == other["choices"]);
  CHECK(one["usage"] == other["usage"]);
  CHECK(apart.metric("dyn_kv_transfer_seconds_count") == 1);
  for (const char* metric : {kUsed, "dyn_router_requests_active{", "dyn_requests_in_flight{"}) {
    CHECK(apart.metric_becomes(metric, 0));
  }
}

TEST_CASE("a short prompt is computed by the decode worker, and nothing is transferred") {
  Plan plan = disaggregated_plan();
  plan.disaggregation.local_prefill = Tokens(100'000);
  RunningServer server(plan);
  CHECK(server.ask(post(kChat, chat())).status == 200);
  CHECK(server.metric("dyn_kv_transfer_seconds_count") == 0);
  CHECK(server.metric_becomes("dyn_router_requests_active{", 0));
}

TEST_CASE("both workers are freed wherever a client of theirs leaves") {
  // Steps of 20 ms and a transfer of 500 ms: leave during prefill, transfer and decoding.
  Plan plan = disaggregated_plan();
  plan.transfer.latency = 500ms;
  RunningServer server(plan, 20ms);
  const char* wait_for =
      GENERATE("dyn_worker_requests_running{model=\"test/model\",pool=\"prefill\"",
               "dyn_router_requests_active{model=\"test/model\",pool=\"decode\"", "token");
  Connection connection(server.port());
  connection.send(post(kChat, chat(R"(,"stream":true,"max_tokens":2000)")));
  if (std::string(wait_for) == "token") {
    connection.read_until("content");
  } else if (std::string(wait_for).starts_with("dyn_router")) {
    REQUIRE(server.metric_becomes(wait_for, 1));
  }
  connection.close();
  CHECK(server.metric_becomes("dyn_client_disconnects_total{", 1));
  for (const char* pool : {"prefill", "decode"}) {
    for (const char* worker : {"0", "1"}) {
      const std::string labels =
          std::string("{model=\"test/model\",pool=\"") + pool + "\",worker=\"" + worker + "\"}";
      CHECK(server.metric_becomes("dyn_worker_kv_cache_usage_ratio" + labels, 0));
      CHECK(server.metric_becomes("dyn_worker_requests_running" + labels, 0));
      CHECK(server.metric_becomes("dyn_router_requests_active" + labels, 0));
    }
  }
}

TEST_CASE("full queues answer 429 and say when to come back") {
  Plan plan = aggregated_plan();
  plan.router.max_queued_per_worker = 2;
  plan.pools[0].config.max_num_seqs = 1;
  RunningServer server(plan, 5ms);
  const std::string long_one = post(kChat, chat(R"(,"stream":true,"max_tokens":4000)"));
  std::vector<Connection> busy;
  for (int i = 0; i < 3; ++i) {  // one runs, two wait
    busy.emplace_back(server.port());
    busy.back().send(long_one);
    if (i == 0) {
      busy.back().read_until("content");
    }
  }
  REQUIRE(server.metric_becomes("dyn_worker_requests_waiting{", 2));
  const HttpAnswer refused = server.ask(post(kChat, chat()));
  CHECK(refused.status == 429);
  CHECK(error_code(refused) == "overloaded");
  CHECK(refused.head.find("Retry-After: 1") != std::string::npos);
  busy.clear();
  CHECK(server.metric_becomes("dyn_router_requests_active{", 0));
  CHECK(server.ask(post(kChat, chat(R"(,"max_tokens":1)"))).status == 200);
}

TEST_CASE("a server that shuts down finishes what it began and takes nothing new") {
  RunningServer server(aggregated_plan(), 5ms);
  Connection streaming(server.port());
  streaming.send(post(kChat, chat(R"(,"stream":true,"max_tokens":60)")));
  streaming.read_until("content");
  server.server().shutdown();
  HttpAnswer health;
  for (int i = 0; i < 500 && health.status != 503; ++i) {
    health = server.ask(get("/health"));
  }
  CHECK(health.status == 503);
  CHECK(server.ask(get("/live")).status == 200);
  CHECK(error_code(server.ask(post(kChat, chat()))) == "shutting_down");
  CHECK(streaming.read_until("[DONE]").find("[DONE]") != std::string::npos);
  CHECK(server.join().drained);
  CHECK_THROWS(Connection(server.port()));
}

TEST_CASE("the grace of a shutdown is bounded, and the client is told") {
  RunningServer server(aggregated_plan(), 20ms,
                       [](serve::ServeOptions& o) { o.drain_timeout = 100ms; });
  Connection streaming(server.port());
  streaming.send(post(kChat, chat(R"(,"stream":true,"max_tokens":4000)")));
  streaming.read_until("content");
  server.server().shutdown();
  const std::string rest = streaming.read_until("shutting_down");
  CHECK(rest.find("shutting_down") != std::string::npos);
  CHECK(rest.find("[DONE]") == std::string::npos);
  CHECK_FALSE(server.join().drained);
}

TEST_CASE("a second shutdown ends at once") {
  RunningServer server(aggregated_plan(), 20ms);
  Connection streaming(server.port());
  streaming.send(post(kChat, chat(R"(,"stream":true,"max_tokens":4000)")));
  streaming.read_until("content");
  server.server().shutdown();
  server.server().shutdown();
  CHECK_FALSE(server.join().drained);
}

TEST_CASE("a port in use is an error that names the port") {
  RunningServer server(aggregated_plan());
  serve::ServeOptions options;
  options.port = server.port();
  options.make_timer = [](const PoolSpec&) { return std::make_shared<FixedTimer>(1ms); };
  try {
    serve::Server second(aggregated_plan(), options);
    FAIL("it listens");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::failed);
    const std::string what = error.what();
    CHECK(what.find(std::to_string(server.port())) != std::string::npos);
    CHECK(what.find("--port") != std::string::npos);
  }
}

TEST_CASE("served requests are logged as a trace") {
  const auto path = std::filesystem::path(DYN_BINARY_DIR) / "served.jsonl";
  {
    RunningServer server(aggregated_plan(), 1ms,
                         [&](serve::ServeOptions& o) { o.log_requests = path.string(); });
    server.ask(post(kChat, chat(R"(,"max_tokens":7)", std::string(1000, 'a'))));
    server.ask(post(kChat, "{"));
    server.ask(post(kChat, chat(R"(,"max_tokens":2)", std::string(1000, 'a') + "b")));
  }
  std::ifstream in(path);
  std::vector<Json> lines;
  for (std::string line; std::getline(in, line);) {
    lines.push_back(Json::parse(line));
  }
  REQUIRE(lines.size() == 2);
  CHECK(lines[0]["input_length"] == 1024);
  CHECK(lines[0]["output_length"] == 7);
  CHECK(lines[0]["hash_ids"].size() == 2);
  CHECK(lines[0]["worker"] == "aggregated/0");
  CHECK(lines[0]["ttft_ms"] > 0);
  CHECK(lines[1]["timestamp"] >= lines[0]["timestamp"]);
  CHECK(lines[1]["hash_ids"][0] == lines[0]["hash_ids"][0]);
  CHECK(lines[1]["cached_tokens"] > 900);
}

TEST_CASE("many clients at once on several threads all get their whole answer") {
  RunningServer server(disaggregated_plan(), 200us, [](serve::ServeOptions& o) { o.threads = 3; });
  std::vector<std::thread> clients;
  std::atomic<int> good{0};
  for (int i = 0; i < 12; ++i) {
    clients.emplace_back([&server, &good, i] {
      Connection connection(server.port());
      for (int k = 0; k < 5; ++k) {
        const int tokens = 3 + (i * 7 + k) % 20;
        connection.send(post(kChat, chat(R"(,"stream":true,"max_tokens":)" + std::to_string(tokens),
                                         std::string(static_cast<std::size_t>(50 * i), 'q'))));
        const HttpAnswer answer = connection.read_answer();
        const bool whole = answer.complete &&
                           events_of(answer.body).size() == static_cast<std::size_t>(tokens) + 3;
        good += whole ? 1 : 0;
      }
    });
  }
  for (std::thread& client : clients) {
    client.join();
  }
  CHECK(good == 60);
  CHECK(server.metric_becomes("dyn_requests_in_flight{", 0));
}

TEST_CASE("time-scale makes simulated engines faster than real time") {
  RunningServer server(aggregated_plan(), 1s,
                       [](serve::ServeOptions& o) { o.time_scale = 10'000; });
  const HttpAnswer answer = server.ask(post(kChat, chat(R"(,"max_tokens":100)")));
  CHECK(answer.status == 200);
  CHECK(server.metric("dyn_e2e_request_latency_seconds_sum") >= 100);
}
