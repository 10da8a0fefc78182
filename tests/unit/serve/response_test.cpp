#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "json_text.h"
#include "openai_response.h"
#include "sse_scanner.h"

using namespace dyn::serve;
using Json = nlohmann::json;

namespace {

Json data_of(const std::string& event) {
  REQUIRE(event.substr(0, 6) == "data: ");
  REQUIRE(event.substr(event.size() - 2) == "\n\n");
  return Json::parse(event.substr(6));
}

}  // namespace

TEST_CASE("a whole chat answer has OpenAI's form") {
  const ResponseWriter writer(Endpoint::chat, "chatcmpl-1", 1700000000, "m", false);
  const Json json = Json::parse(writer.whole("Hi \"there\"", "stop", {10, 3, 8}));
  CHECK(json["id"] == "chatcmpl-1");
  CHECK(json["object"] == "chat.completion");
  CHECK(json["created"] == 1700000000);
  CHECK(json["choices"][0]["message"]["role"] == "assistant");
  CHECK(json["choices"][0]["message"]["content"] == "Hi \"there\"");
  CHECK(json["choices"][0]["finish_reason"] == "stop");
  CHECK(json["usage"]["prompt_tokens"] == 10);
  CHECK(json["usage"]["completion_tokens"] == 3);
  CHECK(json["usage"]["total_tokens"] == 13);
  CHECK(json["usage"]["prompt_tokens_details"]["cached_tokens"] == 8);
}

TEST_CASE("a chat streams a role, texts, the reason, the usage and the end") {
  const ResponseWriter writer(Endpoint::chat, "c", 1, "m", true);
  const Json first = data_of(writer.first_event());
  CHECK(first["object"] == "chat.completion.chunk");
  CHECK(first["choices"][0]["delta"] == Json({{"role", "assistant"}, {"content", ""}}));
  CHECK(first["choices"][0]["finish_reason"].is_null());
  CHECK(first["usage"].is_null());
  CHECK(data_of(writer.text_event(" on"))["choices"][0]["delta"] == Json({{"content", " on"}}));
  const Json last = data_of(writer.finish_event("length"));
  CHECK(last["choices"][0]["delta"].empty());
  CHECK(last["choices"][0]["finish_reason"] == "length");
  const Json usage = data_of(writer.usage_event({1, 2, 0}));
  CHECK(usage["choices"].empty());
  CHECK(usage["usage"]["total_tokens"] == 3);
  CHECK(ResponseWriter::done_event() == "data: [DONE]\n\n");
}

TEST_CASE("a completion streams texts without a role") {
  const ResponseWriter writer(Endpoint::completions, "c", 1, "m", false);
  CHECK(writer.first_event().empty());
  const Json chunk = data_of(writer.text_event("a"));
  CHECK(chunk["object"] == "text_completion");
  CHECK(chunk["choices"][0]["text"] == "a");
  CHECK_FALSE(chunk.contains("usage"));
  CHECK(Json::parse(writer.whole("b", "length", {}))["choices"][0]["text"] == "b");
}

TEST_CASE("errors have OpenAI's form") {
  const Json json = Json::parse(context_length_exceeded("prompt", 90, 20, 100).to_json());
  CHECK(json["error"]["code"] == "context_length_exceeded");
  CHECK(json["error"]["param"] == "prompt");
  CHECK(json["error"]["type"] == "invalid_request_error");
  CHECK(json["error"]["message"].get<std::string>().find("100 tokens") != std::string::npos);
  CHECK(Json::parse(unavailable("x", "y").to_json())["error"]["param"].is_null());
  CHECK(model_not_found("a", "b").status == 404);
}

TEST_CASE("quoting gives valid JSON that reads back as it was, for any text") {
  REQUIRE(rc::check([](const std::string& text) {
    const Json back = Json::parse(json_quote(text));
    const Json expected =
        Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace));
    // Where text is valid UTF-8 both say the same; elsewhere ours has at least parsed.
    try {
      RC_ASSERT(back == Json::parse(Json(text).dump()));
    } catch (const Json::exception&) {
      RC_ASSERT(back.get<std::string>().find("\xEF\xBF\xBD") != std::string::npos);
    }
    RC_ASSERT(expected.is_string());
  }));
  CHECK(json_quote("a\"\\\n\t\x01") == R"("a\"\\\n\t\u0001")");
  CHECK(json_quote("\xC0\xAF") == "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

TEST_CASE("the list of models names the one that is served") {
  const Json json = Json::parse(models_json("org/m", 5, 4096));
  CHECK(json["object"] == "list");
  CHECK(json["data"][0]["id"] == "org/m");
  CHECK(json["data"][0]["max_model_len"] == 4096);
}

TEST_CASE("a relayed stream is counted whatever the pieces it comes in") {
  const std::string stream =
      "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
      "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\r\n\r\n"
      ": a comment\n\n"
      "data: {\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\n\n"
      "data: not json\n\n"
      "data: [DONE]\n\n";
  REQUIRE(rc::check([&](const std::vector<std::size_t>& cuts) {
    SseScanner scanner(true);
    std::string_view rest = stream;
    for (const std::size_t cut : cuts) {
      const std::size_t size = cut % (rest.size() + 1);
      scanner.push(rest.substr(0, size));
      rest.remove_prefix(size);
    }
    scanner.push(rest);
    RC_ASSERT(scanner.tokens() == 2);
    RC_ASSERT(scanner.done());
    RC_ASSERT(!scanner.mid_event());
  }));
}

TEST_CASE("the usage of a relayed answer is believed") {
  SseScanner stream(true);
  stream.push("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,");
  CHECK(stream.mid_event());
  stream.push("\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n");
  CHECK(stream.tokens() == 5);
  CHECK(stream.cached_tokens() == 4);
  CHECK(stream.prompt_tokens() == 9);
  SseScanner whole(false);
  whole.push("{\"choices\":[{\"message\":{\"content\":\"x\"}}],");
  whole.push("\"usage\":{\"completion_tokens\":3}}");
  CHECK(whole.tokens() == 0);
  whole.finish();
  CHECK(whole.tokens() == 3);
}
