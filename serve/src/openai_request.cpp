#include "openai_request.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "dyn/serve/tokenizer.h"
#include "json_text.h"

namespace dyn::serve {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kMostUrgent = 1'000'000;

/// Reads the fields of one body; the first problem is kept and ends the reading.
class Reader {
 public:
  Reader(const Json& root, const RequestRules& rules) : root_(root), rules_(rules) {}

  const std::optional<ApiError>& error() const { return error_; }
  bool ok() const { return !error_.has_value(); }

  void common(CompletionRequest& request);
  void chat(CompletionRequest& request);
  void prompt(CompletionRequest& request);
  void refuse_unsupported();

 private:
  void fail(std::string message, const std::string& param) {
    if (!error_) {
      error_ = invalid(std::move(message), param);
    }
  }
  /// The field, or null where it is absent or null.
  const Json* field(const char* name) const {
    const auto it = root_.find(name);
    return it == root_.end() || it->is_null() ? nullptr : &*it;
  }
  std::optional<std::int64_t> integer(const char* name, std::int64_t low, std::int64_t high);
  bool boolean(const char* name);
  void number(const char* name, double low, double high);
  void stop(CompletionRequest& request);
  void token_ids(const Json& list, CompletionRequest& request);
  std::optional<std::string> content(const Json& value, const std::string& param);

  const Json& root_;
  const RequestRules& rules_;
  std::optional<ApiError> error_;
};

std::optional<std::int64_t> Reader::integer(const char* name, std::int64_t low, std::int64_t high) {
  const Json* value = field(name);
  if (value == nullptr) {
    return std::nullopt;
  }
  const bool fits = value->is_number_integer() &&
                    !(value->is_number_unsigned() &&
                      value->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) &&
                    value->get<std::int64_t>() >= low && value->get<std::int64_t>() <= high;
  if (!fits) {
    fail(std::string("'") + name + "' must be an integer from " + std::to_string(low) + " to " +
             std::to_string(high),
         name);
    return std::nullopt;
  }
  return value->get<std::int64_t>();
}

bool Reader::boolean(const char* name) {
  const Json* value = field(name);
  if (value == nullptr) {
    return false;
  }
  if (!value->is_boolean()) {
    fail(std::string("'") + name + "' must be true or false", name);
    return false;
  }
  return value->get<bool>();
}

void Reader::number(const char* name, double low, double high) {
  const Json* value = field(name);
  if (value == nullptr) {
    return;
  }
  if (!value->is_number() || !(value->get<double>() >= low && value->get<double>() <= high)) {
    fail(std::string("'") + name + "' must be a number from " + Json(low).dump() + " to " +
             Json(high).dump(),
         name);
  }
}

void Reader::stop(CompletionRequest& request) {
  const Json* value = field("stop");
  if (value == nullptr) {
    return;
  }
  if (value->is_string()) {
    request.stop.push_back(value->get<std::string>());
  } else if (value->is_array() && value->size() <= 4) {
    for (const Json& item : *value) {
      if (!item.is_string()) {
        fail("'stop' must be a string or a list of up to 4 strings", "stop");
        return;
      }
      request.stop.push_back(item.get<std::string>());
    }
  } else {
    fail("'stop' must be a string or a list of up to 4 strings", "stop");
  }
  for (const std::string& text : request.stop) {
    if (text.empty()) {
      fail("a 'stop' string must not be empty", "stop");
    }
  }
}

void Reader::common(CompletionRequest& request) {
  const Json* model = field("model");
  if (model == nullptr || !model->is_string()) {
    fail("'model' must name the model, as a string", "model");
    return;
  }
  request.model = model->get<std::string>();
  request.stream = boolean("stream");
  if (const Json* options = field("stream_options")) {
    if (!options->is_object()) {
      fail("'stream_options' must be an object", "stream_options");
    } else if (const auto it = options->find("include_usage");
               it != options->end() && !it->is_null()) {
      if (!it->is_boolean()) {
        fail("'stream_options.include_usage' must be true or false", "stream_options");
      } else {
        request.include_usage = it->get<bool>();
      }
    }
  }
  constexpr std::int64_t kMost = 1'000'000'000;
  request.max_tokens = integer("max_tokens", 1, kMost);
  if (const auto newer = integer("max_completion_tokens", 1, kMost)) {
    request.max_tokens = newer;
  }
  request.min_tokens = integer("min_tokens", 0, kMost).value_or(0);
  if (request.max_tokens && request.min_tokens > *request.max_tokens) {
    fail("'min_tokens' must not be above 'max_tokens'", "min_tokens");
  }
  request.ignore_eos = boolean("ignore_eos");
  stop(request);
  request.priority = integer("priority", -kMostUrgent, kMostUrgent).value_or(0);
  for (const char* name : {"prompt_cache_key", "user"}) {
    const Json* value = field(name);
    if (value != nullptr && !value->is_string()) {
      fail(std::string("'") + name + "' must be a string", name);
    } else if (value != nullptr && request.session.empty()) {
      request.session = value->get<std::string>();
    }
  }
  number("temperature", 0, 2);
  number("top_p", 0, 1);
  number("frequency_penalty", -2, 2);
  number("presence_penalty", -2, 2);
  integer("seed", INT64_MIN, INT64_MAX);
}

void Reader::refuse_unsupported() {
  for (const char* name : {"n", "best_of"}) {
    const Json* value = field(name);
    if (value != nullptr && *value != 1) {
      fail(std::string("'") + name + "' must be 1: this server gives one choice a request", name);
    }
  }
  if (rules_.hands_over && root_.contains("kv_transfer_params")) {
    fail("'kv_transfer_params' is for this server to set, between its prefill and decode engines",
         "kv_transfer_params");
  }
  if (rules_.relayed) {
    return;
  }
  const Json* logprobs = field("logprobs");
  if (logprobs != nullptr && *logprobs != false && *logprobs != 0) {
    fail("'logprobs' is not supported by a simulated engine", "logprobs");
  }
  if (boolean("echo")) {
    fail("'echo' is not supported by a simulated engine", "echo");
  }
}

std::optional<std::string> Reader::content(const Json& value, const std::string& param) {
  if (value.is_null()) {
    return std::string();
  }
  if (value.is_string()) {
    return value.get<std::string>();
  }
  if (!value.is_array()) {
    fail("the content of a message must be a string or a list of parts", param);
    return std::nullopt;
  }
  std::string text;
  for (const Json& part : value) {
    const auto type = part.is_object() ? part.find("type") : part.end();
    if (!part.is_object() || type == part.end() || !type->is_string()) {
      fail("a part of a message's content must be an object with a 'type'", param);
      return std::nullopt;
    }
    const auto words = part.find("text");
    if (*type == "text" && words != part.end() && words->is_string()) {
      text += words->get<std::string>();
    } else if (!rules_.relayed) {
      fail("this server takes only parts of type 'text' with a 'text' string", param);
      return std::nullopt;
    }
  }
  return text;
}

void Reader::chat(CompletionRequest& request) {
  const Json* messages = field("messages");
  if (messages == nullptr || !messages->is_array() || messages->empty()) {
    fail("'messages' must be a list of at least one message", "messages");
    return;
  }
  std::vector<ChatMessage> chat;
  chat.reserve(messages->size());
  for (std::size_t i = 0; i < messages->size() && ok(); ++i) {
    const std::string param = "messages[" + std::to_string(i) + "]";
    const Json& message = (*messages)[i];
    const auto role = message.is_object() ? message.find("role") : message.end();
    if (!message.is_object() || role == message.end() || !role->is_string()) {
      fail("a message must be an object with a 'role' and a 'content'", param);
      return;
    }
    const auto found = message.find("content");
    auto text = content(found == message.end() ? Json() : *found, param + ".content");
    if (text) {
      chat.push_back({role->get<std::string>(), std::move(*text)});
    }
  }
  request.prompt = render_chat(chat);
}

void Reader::token_ids(const Json& list, CompletionRequest& request) {
  request.prompt_is_tokens = true;
  for (const Json& item : list) {
    if (!item.is_number_unsigned() || item.get<std::uint64_t>() > UINT32_MAX) {
      fail("token ids in 'prompt' must be integers from 0 to 4294967295", "prompt");
      return;
    }
    request.prompt_tokens.push_back(item.get<std::uint32_t>());
  }
}

void Reader::prompt(CompletionRequest& request) {
  const Json* prompt = field("prompt");
  const char* kExpected =
      "'prompt' must be a string, or one string or one list of token ids in "
      "a list: this server answers one prompt a request";
  if (prompt != nullptr && prompt->is_array() && prompt->size() == 1 &&
      !prompt->front().is_number()) {
    prompt = &prompt->front();
  }
  if (prompt == nullptr) {
    fail("'prompt' is missing", "prompt");
  } else if (prompt->is_string()) {
    request.prompt = prompt->get<std::string>();
  } else if (prompt->is_array() && !prompt->empty() && prompt->front().is_number()) {
    token_ids(*prompt, request);
  } else {
    fail(kExpected, "prompt");
  }
  if (ok() && request.prompt.empty() && request.prompt_tokens.empty()) {
    fail("'prompt' must not be empty", "prompt");
  }
}

std::variant<Json, ApiError> parse_json(std::string_view body, int max_depth) {
  if (const std::size_t deep = find_too_deep(body, max_depth); deep != std::string_view::npos) {
    const TextPosition at = position_of(body, deep);
    return invalid("the request body nests deeper than " + std::to_string(max_depth) +
                       " levels at line " + std::to_string(at.line) + ", column " +
                       std::to_string(at.column),
                   {}, "invalid_json");
  }
  try {
    return Json::parse(body);
  } catch (const Json::parse_error& e) {
    const TextPosition at = position_of(body, e.byte == 0 ? 0 : e.byte - 1);
    return invalid("the request body is not valid JSON: error at line " + std::to_string(at.line) +
                       ", column " + std::to_string(at.column) + " (byte " +
                       std::to_string(e.byte) + ")",
                   {}, "invalid_json");
  } catch (const Json::exception&) {
    return invalid("the request body has a number that is out of range", {}, "invalid_json");
  }
}

}  // namespace

std::variant<CompletionRequest, ApiError> parse_request(Endpoint endpoint, std::string_view body,
                                                        const RequestRules& rules) {
  auto parsed = parse_json(body, rules.max_depth);
  if (auto* error = std::get_if<ApiError>(&parsed)) {
    return std::move(*error);
  }
  const Json& root = std::get<Json>(parsed);
  if (!root.is_object()) {
    return invalid("the request body must be a JSON object");
  }
  CompletionRequest request;
  request.endpoint = endpoint;
  Reader reader(root, rules);
  reader.common(request);
  reader.refuse_unsupported();
  if (reader.ok()) {
    endpoint == Endpoint::chat ? reader.chat(request) : reader.prompt(request);
  }
  if (!reader.ok()) {
    return *reader.error();
  }
  return request;
}

}  // namespace dyn::serve
