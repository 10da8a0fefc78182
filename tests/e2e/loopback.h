#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dyn/core/plan.h"
#include "dyn/perf/step_timer.h"
#include "dyn/serve/server.h"

// A client and an engine made of plain sockets, so that tests can misbehave as they like.
namespace dyn::test {

/// One answer as it came.
struct HttpAnswer {
  int status = 0;
  std::string head;
  std::string body;       ///< chunks joined
  bool complete = false;  ///< whole by its length, its last chunk, or the close
};

/// A TCP connection to 127.0.0.1. Reads give up after 20 s.
class Connection {
 public:
  explicit Connection(std::uint16_t port);
  explicit Connection(int socket) : socket_(socket) {}
  ~Connection();
  Connection(Connection&& other) noexcept;
  Connection(const Connection&) = delete;

  /// False where the other side is gone.
  bool send(const std::string& bytes);
  /// Whatever comes next; empty at the end.
  std::string read_some();
  /// Reads until `mark` has come, or the end.
  std::string read_until(const std::string& mark);
  HttpAnswer read_answer(bool head_only = false);
  void close();
  /// Closes with a reset, as a process that dies does.
  void reset();

 private:
  int socket_ = -1;
  std::string buffer_;
};

std::string post(const std::string& path, const std::string& body, const std::string& more = {});
std::string get(const std::string& path, const char* method = "GET");
/// A chat body of our model with these further fields.
std::string chat(const std::string& more = {}, const std::string& content = "Hello");

/// An upstream engine: each connection runs `handle` in a thread of its own.
class FakeEngine {
 public:
  using Handler = std::function<void(Connection&, const std::string& request)>;
  explicit FakeEngine(Handler handle, std::uint16_t port = 0);
  ~FakeEngine();
  std::uint16_t port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  int requests() const { return requests_; }
  /// Requests that were not for /health, as they came.
  std::string last_request() const;

 private:
  void accept();
  Handler handle_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<int> requests_{0};
  std::shared_ptr<std::string> last_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

/// Every step takes the same time.
class FixedTimer final : public perf::StepTimer {
 public:
  explicit FixedTimer(Duration step, Duration frontend = Duration{0})
      : step_(step), frontend_(frontend) {}
  Duration step_time(const perf::StepBatch&) const noexcept override { return step_; }
  Duration frontend_time() const noexcept override { return frontend_; }

 private:
  Duration step_;
  Duration frontend_;
};

Plan aggregated_plan(int replicas = 1);
Plan disaggregated_plan();
Plan relaying_plan(const std::vector<std::string>& urls);

/// A server in this process, with every step taking `step`.
class RunningServer {
 public:
  explicit RunningServer(Plan plan, Duration step = std::chrono::milliseconds(1),
                         std::function<void(serve::ServeOptions&)> change = {});
  ~RunningServer();
  std::uint16_t port() const { return server_->port(); }
  serve::Server& server() { return *server_; }
  HttpAnswer ask(const std::string& request);
  /// The value of a metric's first series whose line begins so; -1 if there is none.
  double metric(const std::string& line_begin);
  /// Waits (up to 20 s) until it has this value.
  bool metric_becomes(const std::string& line_begin, double value);
  /// Waits for the end after shutdown.
  serve::ServeEnd join();

 private:
  std::unique_ptr<serve::Server> server_;
  serve::ServeEnd end_;
  std::thread thread_;
};

}  // namespace dyn::test
