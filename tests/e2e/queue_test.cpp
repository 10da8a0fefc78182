#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "loopback.h"

using namespace dyn;
using namespace dyn::test;
using namespace std::chrono_literals;
using Json = nlohmann::json;

namespace {

constexpr const char* kChat = "/v1/chat/completions";
constexpr const char* kHeld = "dyn_router_held_requests{";

/// One worker that runs one request at a time, whose router holds what goes beyond one more.
Plan holding_plan() {
  Plan plan = aggregated_plan();
  plan.router.hold_above = 0;
  plan.pools[0].config.max_num_seqs = 1;
  return plan;
}

/// A stream that is being answered, and one that waits at the worker behind it.
struct Busy {
  explicit Busy(RunningServer& server)
      : running(server.port()), waiting(std::make_unique<Connection>(server.port())) {
    running.send(post(kChat, chat(R"(,"stream":true,"max_tokens":4000)")));
    running.read_until("content");
    waiting->send(post(kChat, chat(R"(,"max_tokens":1)")));
    REQUIRE(server.metric_becomes("dyn_worker_requests_waiting{", 1));
  }
  Connection running;
  std::unique_ptr<Connection> waiting;
};

std::string code_of(const HttpAnswer& answer) {
  return Json::parse(answer.body).at("error").at("code");
}

}  // namespace

TEST_CASE("requests wait at the router while every worker is busy, and are answered in the end") {
  RunningServer server(holding_plan());
  Busy busy(server);
  Connection held(server.port());
  held.send(post(kChat, chat(R"(,"max_tokens":3)")));
  REQUIRE(server.metric_becomes(kHeld, 1));
  Connection gone(server.port());
  gone.send(post(kChat, chat(R"(,"max_tokens":3)")));
  REQUIRE(server.metric_becomes(kHeld, 2));
  gone.close();  // a client that leaves gives up its place
  CHECK(server.metric_becomes(kHeld, 1));
  CHECK(server.metric("dyn_router_requests_active{") == 2);
  busy.running.close();
  CHECK(busy.waiting->read_answer().status == 200);
  const HttpAnswer answer = held.read_answer();
  CHECK(answer.status == 200);
  CHECK(Json::parse(answer.body)["usage"]["completion_tokens"] == 3);
  CHECK(server.metric_becomes(kHeld, 0));
  CHECK(server.metric_becomes("dyn_router_requests_active{", 0));
}

TEST_CASE("the most urgent request leaves the router first, vLLM's lowest number") {
  Plan plan = holding_plan();
  plan.router.queue_order = QueueOrder::priority;
  RunningServer server(plan);
  Busy busy(server);
  Connection patient(server.port());
  patient.send(post(kChat, chat(R"(,"max_tokens":1)")));
  REQUIRE(server.metric_becomes(kHeld, 1));
  Connection urgent(server.port());
  urgent.send(post(kChat, chat(R"(,"stream":true,"max_tokens":4000,"priority":-5)")));
  REQUIRE(server.metric_becomes(kHeld, 2));
  busy.running.close();
  urgent.read_until("content");
  // It has the worker to itself; the other is queued behind it.
  CHECK(server.metric_becomes(kHeld, 0));
  CHECK(server.metric_becomes("dyn_worker_requests_waiting{", 1));
  urgent.close();
  CHECK(patient.read_answer().status == 200);
}

TEST_CASE("a full queue is 429, and a wait that is too long 408") {
  Plan plan = holding_plan();
  plan.router.queue_limit = 1;
  plan.router.queue_timeout = 300ms;
  RunningServer server(plan);
  Busy busy(server);
  Connection held(server.port());
  held.send(post(kChat, chat()));
  REQUIRE(server.metric_becomes(kHeld, 1));
  const HttpAnswer refused = server.ask(post(kChat, chat()));
  CHECK(refused.status == 429);
  CHECK(code_of(refused) == "overloaded");
  const HttpAnswer late = held.read_answer();
  CHECK(late.status == 408);
  CHECK(code_of(late) == "queue_timeout");
  CHECK(server.metric_becomes(kHeld, 0));
}

TEST_CASE("many requests through one place at a router all get their answer") {
  Plan plan = holding_plan();
  plan.pools[0].config.max_num_seqs = 4;
  RunningServer server(plan, 1ms, [](serve::ServeOptions& o) { o.threads = 2; });
  std::vector<Connection> clients;
  for (int i = 0; i < 40; ++i) {
    clients.emplace_back(server.port());
    clients.back().send(post(kChat, chat(R"(,"max_tokens":5)", std::string(20 * i + 1, 'x'))));
  }
  for (Connection& client : clients) {
    CHECK(client.read_answer().status == 200);
  }
  CHECK(server.metric_becomes(kHeld, 0));
  CHECK(server.metric_becomes("dyn_router_requests_active{", 0));
}

TEST_CASE("decode workers may be waited for too") {
  Plan plan = disaggregated_plan();
  plan.router.hold_above = 0;
  RunningServer server(plan, 2ms);
  std::vector<Connection> clients;
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back(server.port());
    clients.back().send(post(kChat, chat(R"(,"max_tokens":5)", std::string(40 * i + 1, 'x'))));
  }
  for (Connection& client : clients) {
    CHECK(client.read_answer().status == 200);
  }
  CHECK(server.metric_becomes("dyn_router_requests_active{", 0));
}

TEST_CASE("requests of one session go to one worker, however the session is named") {
  const auto path = std::filesystem::path(DYN_BINARY_DIR) / "sessions.jsonl";
  Plan plan = aggregated_plan(3);
  plan.router.kind = RouterKind::session_affinity;
  std::vector<std::string> asked;
  {
    RunningServer server(plan, 1ms,
                         [&](serve::ServeOptions& o) { o.log_requests = path.string(); });
    const auto ask = [&](const std::string& session, const std::string& body,
                         const std::string& header = {}) {
      asked.push_back(session);
      CHECK(server.ask(post(kChat, chat(",\"max_tokens\":2" + body), header)).status == 200);
    };
    for (int turn = 0; turn < 3; ++turn) {
      for (const std::string name : {"a", "b", "c", "d", "e", "f"}) {
        ask("header " + name, "", "X-Session-Id: " + name + "\r\n");
        ask("key " + name, R"(,"prompt_cache_key":"key )" + name + R"(","user":"all")");
      }
    }
  }
  std::map<std::string, std::set<std::string>> workers;
  std::set<std::string> used;
  std::ifstream in(path);
  std::size_t at = 0;
  for (std::string line; std::getline(in, line); ++at) {
    const std::string worker = Json::parse(line).at("worker");
    workers[asked.at(at)].insert(worker);
    used.insert(worker);
  }
  REQUIRE(at == asked.size());
  CHECK(used.size() == 3);
  for (const auto& [session, of_session] : workers) {
    INFO(session);
    CHECK(of_session.size() == 1);
  }
}
