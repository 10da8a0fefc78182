#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dyn/core/plan.h"
#include "dyn/perf/step_timer.h"

namespace dyn::serve {

/// Bounds that keep one client from using up the server. Times are real, not scaled.
struct ServeLimits {
  std::uint64_t body_bytes = 8ULL << 20;               ///< above: 413
  std::uint32_t header_bytes = 32 << 10;               ///< above: 431
  int headers = 100;                                   ///< above: 431
  int json_depth = 64;                                 ///< above: 400
  int connections = 4096;                              ///< above: not accepted until one leaves
  std::size_t pipelined_bytes = 64 << 10;              ///< read ahead while an answer is written
  std::size_t relay_bytes = 1 << 20;                   ///< of an answer waiting for a slow client
  Duration idle_timeout = std::chrono::seconds(75);    ///< a kept connection without a request
  Duration header_timeout = std::chrono::seconds(10);  ///< from its first byte; above: 408
  Duration body_timeout = std::chrono::seconds(60);    ///< above: 408
  Duration write_timeout = std::chrono::seconds(30);   ///< a client that does not read is dropped
};

struct ServeOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8000;  ///< 0: a free one
  double time_scale = 1;      ///< simulated engines run so many times faster; > 0
  std::string log_requests;   ///< JSONL file; empty: none
  Duration drain_timeout = std::chrono::seconds(30);
  int threads = 1;
  bool handle_signals = false;  ///< SIGINT and SIGTERM drain, the second one ends at once
  std::int64_t default_output_tokens = 128;           ///< where a request does not say
  Duration probe_interval = std::chrono::seconds(1);  ///< of an engine that is gone
  ServeLimits limits;
  /// Step times of a pool's simulated engines; default the PerfModel of the plan.
  std::function<std::shared_ptr<const perf::StepTimer>(const PoolSpec&)> make_timer;
};

/// How a server ended.
struct ServeEnd {
  int signal = 0;        ///< SIGINT or SIGTERM; 0: shutdown() was called
  bool drained = false;  ///< every request in flight was answered in full
};

/// The keys of a plan that only simulations follow, each with what a server does instead; empty for
/// most plans.
std::vector<std::string> simulated_only(const Plan& plan);

/// The HTTP server of a plan: OpenAI's endpoints in front of the plan's router and workers, which
/// are the simulator's own. Listens from construction on, serves while `run` runs.
class Server {
 public:
  /// Throws Error(failed) where it cannot listen or open the log, Error(bad_input) for a plan
  /// that this version cannot serve.
  Server(Plan plan, ServeOptions options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::uint16_t port() const;
  std::string url() const;  ///< http://host:port

  /// Serves until `shutdown` or a signal, then until the requests in flight are done or the grace
  /// is over. Blocks; call once.
  ServeEnd run();
  /// Begins to drain: /health and new requests get 503. The second call ends at once. Any thread.
  void shutdown();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dyn::serve
