#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "dyn/core/plan.h"
#include "dyn/serve/server.h"
#include "dyn/serve/tokenizer.h"
#include "fleet.h"
#include "metrics.h"
#include "request_log.h"

namespace dyn::serve {

/// What the connections of a server share. All of it is immutable or thread-safe.
struct ServerState {
  ServerState(Plan a_plan, const ServeOptions& a_options, const net::any_io_executor& executor);

  const Plan plan;
  const ServeOptions options;
  const std::int64_t created;    ///< seconds since 1970
  const std::uint64_t instance;  ///< random; part of the answers' ids
  const std::shared_ptr<const Tokenizer> tokenizer;
  const std::shared_ptr<Fleet> fleet;
  RequestLog log;
  Metrics metrics;
  std::atomic<bool> draining{false};
  std::atomic<std::int64_t> in_flight{0};
  /// Called, from any thread, when a request ends while the server drains. Set before serving.
  std::function<void()> on_left;

  std::int64_t max_model_len() const;
};

/// Counts a request as in flight for as long as it lives.
class InFlight {
 public:
  explicit InFlight(std::shared_ptr<ServerState> state);
  ~InFlight();
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

 private:
  std::shared_ptr<ServerState> state_;
};

}  // namespace dyn::serve
