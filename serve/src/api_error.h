#pragma once

#include <string>

namespace dyn::serve {

/// An error as OpenAI's API reports it: {"error": {message, type, param, code}}.
struct ApiError {
  int status = 400;
  std::string message;
  std::string type = "invalid_request_error";
  std::string param;    ///< the field at fault; empty: null
  std::string code;     ///< a stable word for programs; empty: null
  int retry_after = 0;  ///< seconds, as Retry-After; 0: left out

  std::string to_json() const;
};

/// Errors that several places give.
ApiError invalid(std::string message, std::string param = {}, std::string code = {});
ApiError model_not_found(const std::string& model, const std::string& served);
ApiError context_length_exceeded(const char* param, long long prompt, long long output,
                                 long long limit);
ApiError unavailable(std::string message, std::string code, int retry_after = 1);

}  // namespace dyn::serve
