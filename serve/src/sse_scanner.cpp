#include "sse_scanner.h"

#include <nlohmann/json.hpp>

namespace dyn::serve {
namespace {

using Json = nlohmann::json;
constexpr std::size_t kMaxLine = 4 << 20;

const Json* member(const Json& object, const char* name) {
  if (!object.is_object()) {
    return nullptr;
  }
  const auto it = object.find(name);
  return it == object.end() ? nullptr : &*it;
}

std::int64_t count(const Json* object, const char* name) {
  const Json* value = object == nullptr ? nullptr : member(*object, name);
  return value != nullptr && value->is_number_integer() ? value->get<std::int64_t>() : 0;
}

bool has_text(const Json* value) {
  return value != nullptr && value->is_string() && !value->get_ref<const std::string&>().empty();
}

/// Whether a chunk carries text, in one of the places where engines put it.
bool carries_text(const Json& chunk) {
  const Json* choices = member(chunk, "choices");
  if (choices == nullptr || !choices->is_array() || choices->empty()) {
    return false;
  }
  const Json& choice = choices->front();
  if (has_text(member(choice, "text"))) {
    return true;
  }
  const Json* delta = member(choice, "delta");
  return delta != nullptr &&
         (has_text(member(*delta, "content")) || has_text(member(*delta, "reasoning_content")) ||
          has_text(member(*delta, "reasoning")) || member(*delta, "tool_calls") != nullptr);
}

}  // namespace

void SseScanner::push(std::string_view bytes) {
  if (!stream_) {
    if (line_.size() + bytes.size() <= kMaxLine) {
      line_ += bytes;
    } else {
      overlong_ = true;
    }
    return;
  }
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const std::string_view part = bytes.substr(0, end);
    if (line_.size() + part.size() > kMaxLine) {
      overlong_ = true;
      line_.resize(1);
    } else if (!overlong_) {
      line_ += part;
    }
    if (end == std::string_view::npos) {
      return;
    }
    if (!overlong_) {
      line(line_);
    }
    overlong_ = false;
    line_.clear();
    bytes.remove_prefix(end + 1);
  }
}

void SseScanner::finish() {
  if (!stream_ && !overlong_) {
    document(line_, false);
  }
}

void SseScanner::line(std::string_view text) {
  if (!text.empty() && text.back() == '\r') {
    text.remove_suffix(1);
  }
  in_event_ = !text.empty();
  constexpr std::string_view kData = "data:";
  if (text.substr(0, kData.size()) != kData) {
    return;
  }
  text.remove_prefix(kData.size());
  while (!text.empty() && text.front() == ' ') {
    text.remove_prefix(1);
  }
  if (text == "[DONE]") {
    done_ = true;
  } else {
    document(text, true);
  }
}

void SseScanner::document(std::string_view text, bool event) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) {
    return;
  }
  if (event && carries_text(json)) {
    ++tokens_;
  }
  const Json* usage = member(json, "usage");
  if (const std::int64_t total = count(usage, "completion_tokens"); total > 0) {
    tokens_ = total;
    prompt_tokens_ = count(usage, "prompt_tokens");
    cached_tokens_ = count(member(*usage, "prompt_tokens_details"), "cached_tokens");
  }
}

}  // namespace dyn::serve
