#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "api_error.h"

namespace dyn::serve {

enum class Endpoint { chat, completions };

/// A request to one of the two generating endpoints, checked field by field.
struct CompletionRequest {
  Endpoint endpoint = Endpoint::chat;
  std::string model;
  std::string prompt;                        ///< of a chat: the rendered template
  std::vector<std::uint32_t> prompt_tokens;  ///< where the prompt came as token ids
  bool prompt_is_tokens = false;
  bool stream = false;
  bool include_usage = false;
  std::optional<std::int64_t> max_tokens;  ///< >= 1
  std::int64_t min_tokens = 0;             ///< stop strings are not looked for before
  bool ignore_eos = false;
  std::int64_t priority = 0;      ///< as the engine of the plan understands it
  std::string session;            ///< `prompt_cache_key`, else `user`; empty where it names none
  std::vector<std::string> stop;  ///< at most 4, none empty
};

struct RequestRules {
  int max_depth = 64;  ///< of the JSON
  /// The request goes on to another engine, which decides about what is beyond routing:
  /// log-probabilities, tools, images.
  bool relayed = false;
  /// From one engine to another: this server fills in kv_transfer_params.
  bool hands_over = false;
};

/// Reads a request body. Bytes that are no UTF-8, JSON that does not parse (with its position),
/// wrong types and values out of range are errors of status 400. Fields that are unknown or only
/// steer sampling (temperature, top_p, seed, ...) are checked for type and otherwise ignored.
std::variant<CompletionRequest, ApiError> parse_request(Endpoint endpoint, std::string_view body,
                                                        const RequestRules& rules = {});

}  // namespace dyn::serve
