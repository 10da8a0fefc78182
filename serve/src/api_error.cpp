#include "api_error.h"

#include <utility>

#include "json_text.h"

namespace dyn::serve {
namespace {
std::string quote_or_null(const std::string& text) {
  return text.empty() ? "null" : json_quote(text);
}
}  // namespace

std::string ApiError::to_json() const {
  return "{\"error\":{\"message\":" + json_quote(message) + ",\"type\":" + json_quote(type) +
         ",\"param\":" + quote_or_null(param) + ",\"code\":" + quote_or_null(code) + "}}";
}

ApiError invalid(std::string message, std::string param, std::string code) {
  return {400, std::move(message), "invalid_request_error", std::move(param), std::move(code), 0};
}

ApiError model_not_found(const std::string& model, const std::string& served) {
  return {404,
          "the model '" + model + "' does not exist; this server has '" + served + "'",
          "invalid_request_error",
          "model",
          "model_not_found",
          0};
}

ApiError context_length_exceeded(const char* param, long long prompt, long long output,
                                 long long limit) {
  return invalid("this model's maximum context length is " + std::to_string(limit) +
                     " tokens, but the request has " + std::to_string(prompt) +
                     " tokens of prompt and asks for " + std::to_string(output) + " of output",
                 param, "context_length_exceeded");
}

ApiError unavailable(std::string message, std::string code, int retry_after) {
  return {503, std::move(message), "server_error", {}, std::move(code), retry_after};
}

}  // namespace dyn::serve
