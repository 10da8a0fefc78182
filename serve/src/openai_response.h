#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "openai_request.h"

namespace dyn::serve {

/// Token counts of one request, as `usage` reports them.
struct Usage {
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t cached_tokens = 0;

  std::string to_json() const;
};

/// Writes the JSON of one answer: whole, or as the data of server-sent events. Field order is
/// fixed. `finish` is "length" or "stop".
class ResponseWriter {
 public:
  /// `created` is in seconds since 1970. With `null_usage` every chunk but the last says
  /// "usage": null, as OpenAI does where the client asked for usage.
  ResponseWriter(Endpoint endpoint, std::string_view id, std::int64_t created,
                 std::string_view model, bool null_usage);

  std::string whole(std::string_view text, std::string_view finish, const Usage& usage) const;

  // Each is one event, `data: {...}` with the empty line after it.
  std::string first_event() const;  ///< the role of a chat; empty for completions
  std::string text_event(std::string_view text) const;
  std::string finish_event(std::string_view finish) const;
  std::string usage_event(const Usage& usage) const;
  static std::string done_event();
  static std::string error_event(const ApiError& error);

 private:
  std::string event(std::string_view delta, std::string_view finish) const;

  Endpoint endpoint_;
  std::string head_;  ///< {"id":...,"object":...,"created":...,"model":... of a chunk
  std::string whole_head_;
  bool null_usage_;
};

/// The answer of GET /v1/models.
std::string models_json(std::string_view model, std::int64_t created, std::int64_t max_model_len);

}  // namespace dyn::serve
