#include "handover.h"

#include <nlohmann/json.hpp>

namespace dyn::serve {
namespace {

using Json = nlohmann::ordered_json;

const Json* member(const Json& value, const char* name) {
  const auto it = value.is_object() ? value.find(name) : value.end();
  return it == value.end() ? nullptr : &*it;
}

std::string finish_reason(const Json& answer) {
  const Json* choices = member(answer, "choices");
  if (choices == nullptr || !choices->is_array() || choices->empty()) {
    return {};
  }
  const Json* reason = member(choices->front(), "finish_reason");
  return reason != nullptr && reason->is_string() ? reason->get<std::string>() : std::string();
}

}  // namespace

std::string prefill_body(std::string_view body) {
  Json request = Json::parse(body);
  request["stream"] = false;
  request["max_tokens"] = 1;
  if (request.contains("max_completion_tokens")) {
    request["max_completion_tokens"] = 1;
  }
  // Only for streams, and beyond the one token.
  request.erase("stream_options");
  request.erase("min_tokens");
  request["kv_transfer_params"] = {{"do_remote_decode", true},    {"do_remote_prefill", false},
                                   {"remote_engine_id", nullptr}, {"remote_block_ids", nullptr},
                                   {"remote_host", nullptr},      {"remote_port", nullptr}};
  return request.dump();
}

std::string decode_body(std::string_view body, std::string_view kv_transfer) {
  const std::size_t begin = body.find('{') + 1;
  std::string text(body.substr(0, begin));
  text += "\"kv_transfer_params\":";
  text += kv_transfer;
  text += ',';
  return text.append(body.substr(begin));
}

std::optional<PrefillAnswer> read_prefill_answer(std::string_view body) {
  const Json answer = Json::parse(body, nullptr, false);
  if (answer.is_discarded()) {
    return std::nullopt;
  }
  PrefillAnswer result;
  if (const Json* params = member(answer, "kv_transfer_params");
      params != nullptr && params->is_object() && !params->empty()) {
    result.kv_transfer = params->dump();
  } else if (const std::string reason = finish_reason(answer);
             reason.empty() || reason == "length") {
    return std::nullopt;
  }
  const Json* usage = member(answer, "usage");
  const Json* details = usage == nullptr ? nullptr : member(*usage, "prompt_tokens_details");
  const Json* cached = details == nullptr ? nullptr : member(*details, "cached_tokens");
  if (cached != nullptr && cached->is_number_unsigned()) {
    result.cached_tokens = cached->get<std::int64_t>();
  }
  return result;
}

}  // namespace dyn::serve
