#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <string>

#include "json_text.h"
#include "openai_request.h"

using namespace dyn::serve;

namespace {

CompletionRequest good(Endpoint endpoint, const std::string& body, bool relayed = false) {
  RequestRules rules;
  rules.relayed = relayed;
  auto result = parse_request(endpoint, body, rules);
  if (const auto* error = std::get_if<ApiError>(&result)) {
    FAIL(error->message);
  }
  return std::get<CompletionRequest>(result);
}

ApiError bad(Endpoint endpoint, const std::string& body) {
  const auto result = parse_request(endpoint, body);
  REQUIRE(std::holds_alternative<ApiError>(result));
  const ApiError error = std::get<ApiError>(result);
  CHECK(error.status == 400);
  return error;
}

std::string chat(const std::string& more) {
  return R"({"model":"m","messages":[{"role":"user","content":"hi"}])" + more + "}";
}

}  // namespace

TEST_CASE("a chat is rendered by the role template") {
  const auto request = good(Endpoint::chat, R"({"model":"m","messages":[
      {"role":"system","content":"Be brief."},
      {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]})");
  CHECK(request.model == "m");
  CHECK(request.prompt == "<|system|>\nBe brief.\n<|user|>\nab\n<|assistant|>\n");
  CHECK_FALSE(request.stream);
  CHECK_FALSE(request.max_tokens.has_value());
}

TEST_CASE("the options of a request are read") {
  const auto request = good(
      Endpoint::chat, chat(R"(,"stream":true,"stream_options":{"include_usage":true},"max_tokens":7,
              "max_completion_tokens":9,"min_tokens":2,"ignore_eos":true,"stop":["x","yz"],
              "temperature":0.7,"top_p":1,"n":1,"seed":-3,"user":"someone","priority":-7,
              "unknown":{"a":[1]})"));
  CHECK(request.stream);
  CHECK(request.include_usage);
  CHECK(request.max_tokens == 9);
  CHECK(request.min_tokens == 2);
  CHECK(request.ignore_eos);
  CHECK(request.stop == std::vector<std::string>{"x", "yz"});
  CHECK(request.priority == -7);
  CHECK(request.session == "someone");
  CHECK(good(Endpoint::chat, chat(R"(,"user":"someone","prompt_cache_key":"talk")")).session ==
        "talk");
}

TEST_CASE("null means not given") {
  const auto request = good(Endpoint::chat, chat(R"(,"stop":null,"max_tokens":null,"n":null)"));
  CHECK(request.stop.empty());
  CHECK_FALSE(request.max_tokens.has_value());
}

TEST_CASE("a prompt is a string, one string in a list, or token ids") {
  CHECK(good(Endpoint::completions, R"({"model":"m","prompt":"abc"})").prompt == "abc");
  CHECK(good(Endpoint::completions, R"({"model":"m","prompt":["abc"]})").prompt == "abc");
  const auto ids = good(Endpoint::completions, R"({"model":"m","prompt":[5,4294967295]})");
  CHECK(ids.prompt_is_tokens);
  CHECK(ids.prompt_tokens == std::vector<std::uint32_t>{5, 4294967295U});
  CHECK(good(Endpoint::completions, R"({"model":"m","prompt":[[7]]})").prompt_tokens.size() == 1);
}

TEST_CASE("what a request must not say is refused with the field's name") {
  const std::pair<const char*, const char*> cases[] = {
      {R"(,"n":2)", "n"},
      {R"(,"best_of":3)", "best_of"},
      {R"(,"max_tokens":0)", "max_tokens"},
      {R"(,"max_tokens":1.5)", "max_tokens"},
      {R"(,"max_tokens":18446744073709551615)", "max_tokens"},
      {R"(,"max_tokens":3,"min_tokens":4)", "min_tokens"},
      {R"(,"stream":"yes")", "stream"},
      {R"(,"stream_options":[])", "stream_options"},
      {R"(,"stop":["a","b","c","d","e"])", "stop"},
      {R"(,"priority":1.5)", "priority"},
      {R"(,"priority":1000001)", "priority"},
      {R"(,"user":7)", "user"},
      {R"(,"prompt_cache_key":{})", "prompt_cache_key"},
      {R"(,"stop":[""])", "stop"},
      {R"(,"stop":[1])", "stop"},
      {R"(,"temperature":2.5)", "temperature"},
      {R"(,"top_p":"1")", "top_p"},
      {R"(,"logprobs":true)", "logprobs"},
  };
  for (const auto& [more, param] : cases) {
    CAPTURE(more);
    CHECK(bad(Endpoint::chat, chat(more)).param == param);
  }
  CHECK(bad(Endpoint::chat, R"({"messages":[]})").param == "model");
  CHECK(bad(Endpoint::chat, R"({"model":"m"})").param == "messages");
  CHECK(bad(Endpoint::chat, R"({"model":"m","messages":[]})").param == "messages");
  CHECK(bad(Endpoint::chat, R"({"model":"m","messages":[{"role":1}]})").param == "messages[0]");
  CHECK(bad(Endpoint::chat,
            R"({"model":"m","messages":[{"role":"user","content":[{"type":"image_url"}]}]})")
            .param == "messages[0].content");
  CHECK(bad(Endpoint::completions, R"({"model":"m"})").param == "prompt");
  CHECK(bad(Endpoint::completions, R"({"model":"m","prompt":""})").param == "prompt");
  CHECK(bad(Endpoint::completions, R"({"model":"m","prompt":["a","b"]})").param == "prompt");
  CHECK(bad(Endpoint::completions, R"({"model":"m","prompt":[-1]})").param == "prompt");
  CHECK(bad(Endpoint::completions, R"({"model":"m","prompt":"a","echo":true})").param == "echo");
}

TEST_CASE("what another engine decides about is let through to it") {
  const auto request = good(Endpoint::chat, R"({"model":"m","logprobs":true,"messages":[
      {"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}},
                                {"type":"text","text":"see"}]}]})",
                            true);
  CHECK(request.prompt == "<|user|>\nsee\n<|assistant|>\n");
}

TEST_CASE("JSON that does not parse is refused with its position") {
  const ApiError error = bad(Endpoint::chat, "{\n  \"model\": oops}");
  CHECK(error.code == "invalid_json");
  CHECK(error.message.find("line 2, column 1") != std::string::npos);
  CHECK(bad(Endpoint::chat, "").code == "invalid_json");
  CHECK(bad(Endpoint::chat, "{\"model\":\"\xff\xfe\"}").code == "invalid_json");
  CHECK(bad(Endpoint::chat, R"({"model":"m","temperature":1e999})").code == "invalid_json");
  CHECK(bad(Endpoint::chat, "[]").message.find("object") != std::string::npos);
}

TEST_CASE("JSON that nests too deep is refused before it is parsed") {
  const std::string deep =
      R"({"model":"m","x":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  CHECK(bad(Endpoint::chat, deep).message.find("nests deeper than 64") != std::string::npos);
  // Brackets within strings do not count.
  const std::string flat = chat(",\"x\":\"" + std::string(1000, '[') + "\\\"[[\"");
  CHECK(good(Endpoint::chat, flat).model == "m");
}

TEST_CASE("any bytes give a request or an error, and the error is valid UTF-8 JSON") {
  REQUIRE(rc::check([](const std::string& junk) {
    const auto result = parse_request(Endpoint::chat, junk);
    if (const auto* error = std::get_if<ApiError>(&result)) {
      RC_ASSERT(error->status == 400);
      RC_ASSERT(error->to_json().front() == '{');
    }
  }));
}
