#pragma once

#include <memory>
#include <string>
#include <variant>

#include "openai_request.h"
#include "server_state.h"

namespace dyn::serve {

/// An HTTP request, read in full.
struct HttpRequest {
  std::string method;
  std::string path;  ///< without the query
  std::string body;
  std::string authorization;
  std::string session;  ///< X-Session-Id, else X-Correlation-Id
  bool keep_alive = true;
  bool http_1_0 = false;
  SimTime received;
};

/// A generating request that may go to the fleet.
struct Prepared {
  CompletionRequest request;
  std::shared_ptr<const Job> job;
  std::uint64_t text_seed = 0;
  std::uint64_t ticket = 0;  ///< of the request log
};

/// Parses and checks a generating request: fields, model, context; makes its job. Moves the body
/// out of `http` for a fleet that relays. What it returns has an open ticket in the log.
std::variant<Prepared, ApiError> prepare(ServerState& state, Endpoint endpoint, HttpRequest& http);

/// The answer of everything else: models, health, metrics, unknown paths, wrong methods.
struct PlainAnswer {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::string allow;  ///< for 405
};
PlainAnswer plain_answer(ServerState& state, const HttpRequest& http);

/// The endpoint that a POST to this path means.
std::optional<Endpoint> generating_endpoint(const HttpRequest& http);

/// The path as a metrics label: itself where it is known, else "other".
std::string metrics_path(const std::string& path);

}  // namespace dyn::serve
