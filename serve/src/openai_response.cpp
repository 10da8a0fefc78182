#include "openai_response.h"

#include "json_text.h"

namespace dyn::serve {
namespace {

std::string head(std::string_view id, std::string_view object, std::int64_t created,
                 std::string_view model) {
  return "{\"id\":" + json_quote(id) + ",\"object\":" + json_quote(object) +
         ",\"created\":" + std::to_string(created) + ",\"model\":" + json_quote(model);
}

std::string quote_or_null(std::string_view text) {
  return text.empty() ? "null" : json_quote(text);
}

}  // namespace

std::string Usage::to_json() const {
  return "{\"prompt_tokens\":" + std::to_string(prompt_tokens) +
         ",\"completion_tokens\":" + std::to_string(completion_tokens) +
         ",\"total_tokens\":" + std::to_string(prompt_tokens + completion_tokens) +
         ",\"prompt_tokens_details\":{\"cached_tokens\":" + std::to_string(cached_tokens) + "}}";
}

ResponseWriter::ResponseWriter(Endpoint endpoint, std::string_view id, std::int64_t created,
                               std::string_view model, bool null_usage)
    : endpoint_(endpoint), null_usage_(null_usage) {
  const bool chat = endpoint == Endpoint::chat;
  head_ = head(id, chat ? "chat.completion.chunk" : "text_completion", created, model);
  whole_head_ = head(id, chat ? "chat.completion" : "text_completion", created, model);
}

std::string ResponseWriter::whole(std::string_view text, std::string_view finish,
                                  const Usage& usage) const {
  std::string choice = "{\"index\":0,";
  if (endpoint_ == Endpoint::chat) {
    choice += "\"message\":{\"role\":\"assistant\",\"content\":" + json_quote(text) + "}";
  } else {
    choice += "\"text\":" + json_quote(text);
  }
  choice += ",\"logprobs\":null,\"finish_reason\":" + json_quote(finish) + "}";
  return whole_head_ + ",\"choices\":[" + choice + "],\"usage\":" + usage.to_json() + "}";
}

std::string ResponseWriter::event(std::string_view delta, std::string_view finish) const {
  std::string text = "data: " + head_ + ",\"choices\":[{\"index\":0,";
  text += delta;
  text += ",\"logprobs\":null,\"finish_reason\":" + quote_or_null(finish) + "}]";
  text += null_usage_ ? ",\"usage\":null}\n\n" : "}\n\n";
  return text;
}

std::string ResponseWriter::first_event() const {
  return endpoint_ == Endpoint::chat
             ? event("\"delta\":{\"role\":\"assistant\",\"content\":\"\"}", {})
             : std::string();
}

std::string ResponseWriter::text_event(std::string_view text) const {
  return endpoint_ == Endpoint::chat ? event("\"delta\":{\"content\":" + json_quote(text) + "}", {})
                                     : event("\"text\":" + json_quote(text), {});
}

std::string ResponseWriter::finish_event(std::string_view finish) const {
  return event(endpoint_ == Endpoint::chat ? "\"delta\":{}" : "\"text\":\"\"", finish);
}

std::string ResponseWriter::usage_event(const Usage& usage) const {
  return "data: " + head_ + ",\"choices\":[],\"usage\":" + usage.to_json() + "}\n\n";
}

std::string ResponseWriter::done_event() {
  return "data: [DONE]\n\n";
}

std::string ResponseWriter::error_event(const ApiError& error) {
  return "data: " + error.to_json() + "\n\n";
}

std::string models_json(std::string_view model, std::int64_t created, std::int64_t max_model_len) {
  return "{\"object\":\"list\",\"data\":[{\"id\":" + json_quote(model) +
         ",\"object\":\"model\",\"created\":" + std::to_string(created) +
         ",\"owned_by\":\"dyn\",\"max_model_len\":" + std::to_string(max_model_len) + "}]}";
}

}  // namespace dyn::serve
