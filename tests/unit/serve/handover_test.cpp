#include "handover.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "openai_request.h"

using namespace dyn::serve;
using Json = nlohmann::ordered_json;

TEST_CASE("the prefill engine is asked for one token whose KV it keeps") {
  const Json sent = Json::parse(prefill_body(
      R"({"model":"m","stream":true,"stream_options":{"include_usage":true},"max_tokens":70,
          "max_completion_tokens":80,"min_tokens":9,"prompt":"p","cache_salt":"s"})"));
  CHECK(sent["stream"] == false);
  CHECK(sent["max_tokens"] == 1);
  CHECK(sent["max_completion_tokens"] == 1);
  CHECK_FALSE(sent.contains("stream_options"));
  CHECK_FALSE(sent.contains("min_tokens"));
  CHECK(sent["prompt"] == "p");
  CHECK(sent["cache_salt"] == "s");
  CHECK(sent["kv_transfer_params"]["do_remote_decode"] == true);
  CHECK(sent["kv_transfer_params"]["do_remote_prefill"] == false);
  CHECK(sent["kv_transfer_params"].size() == 6);
  CHECK_FALSE(Json::parse(prefill_body(R"({"model":"m"})")).contains("max_completion_tokens"));
}

TEST_CASE("the decode engine gets the client's bytes and the prefill engine's parameters") {
  CHECK(decode_body("\n { \"model\" :\"m\", \"x\": 1.50}", R"({"a":[1]})") ==
        "\n {\"kv_transfer_params\":{\"a\":[1]}, \"model\" :\"m\", \"x\": 1.50}");
}

TEST_CASE("a prefill engine's parameters come through as they are") {
  const auto answer = read_prefill_answer(
      R"({"choices":[{"finish_reason":"length"}],
          "usage":{"prompt_tokens":40,"prompt_tokens_details":{"cached_tokens":32}},
          "kv_transfer_params":{"z":18446744073709551615,"a":[[3,1]],"remote_host":"10.0.0.1",
                                "t":null,"b":true}})");
  REQUIRE(answer);
  CHECK(answer->kv_transfer ==
        R"({"z":18446744073709551615,"a":[[3,1]],"remote_host":"10.0.0.1","t":null,"b":true})");
  CHECK(answer->cached_tokens == 32);
}

TEST_CASE("an answer without parameters is well only where it ended by itself") {
  const auto ended =
      read_prefill_answer(R"({"choices":[{"finish_reason":"stop"}],"kv_transfer_params":null})");
  REQUIRE(ended);
  CHECK(ended->kv_transfer.empty());
  for (const char* bad : {R"({"choices":[{"finish_reason":"length"}],"kv_transfer_params":null})",
                          R"({"choices":[{"finish_reason":"length"}],"kv_transfer_params":{}})",
                          R"({"choices":[]})", R"([1])", "nonsense", ""}) {
    CAPTURE(bad);
    CHECK_FALSE(read_prefill_answer(bad));
  }
}

TEST_CASE("a client cannot name the engine whose KV it wants") {
  RequestRules rules;
  rules.relayed = true;
  rules.hands_over = true;
  for (const char* value : {"{\"remote_host\":\"10.0.0.9\"}", "null"}) {
    const auto result = parse_request(
        Endpoint::completions,
        std::string(R"({"model":"m","prompt":"p","kv_transfer_params":)") + value + "}", rules);
    REQUIRE(std::holds_alternative<ApiError>(result));
    CHECK(std::get<ApiError>(result).param == "kv_transfer_params");
  }
}
