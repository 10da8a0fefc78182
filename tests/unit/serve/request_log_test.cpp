#include "request_log.h"

#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "dyn/core/error.h"

using namespace dyn;
using namespace dyn::serve;
using Json = nlohmann::json;

namespace {

std::vector<std::uint32_t> tokens(std::size_t count, std::uint32_t from = 0) {
  std::vector<std::uint32_t> result(count);
  std::iota(result.begin(), result.end(), from);
  return result;
}

std::string temporary(const char* name) {
  return (std::filesystem::path(DYN_BINARY_DIR) / name).string();
}

std::vector<Json> lines_of(const std::string& path) {
  std::vector<Json> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    lines.push_back(Json::parse(line));
  }
  return lines;
}

}  // namespace

TEST_CASE("a prompt has a number for each 512 tokens begun") {
  HashIds ids;
  for (const auto& [length, blocks] : {std::pair<std::size_t, std::size_t>{1, 1},
                                       {511, 1},
                                       {512, 1},
                                       {513, 2},
                                       {1024, 2},
                                       {1025, 3}}) {
    CHECK(ids.of(tokens(length)).size() == blocks);
  }
  CHECK(ids.of({}).empty());
}

TEST_CASE("prompts share numbers exactly as far as they begin alike") {
  HashIds ids;
  const auto first = ids.of(tokens(1600));
  CHECK(first == std::vector<std::uint64_t>{0, 1, 2, 3});
  CHECK(ids.of(tokens(1600)) == first);
  auto other = tokens(1600);
  other[600] = 9999;  // within the second block: it and all after it differ
  const auto changed = ids.of(other);
  CHECK(changed[0] == first[0]);
  CHECK(changed[1] != first[1]);
  CHECK(changed[2] != first[2]);
  CHECK(ids.of(tokens(1599)).back() != first.back());
}

TEST_CASE("numbers stay distinct when old ones are forgotten") {
  HashIds ids(4);
  const auto before = ids.of(tokens(2048));
  const auto after = ids.of(tokens(2048, 7));
  for (const auto id : after) {
    CHECK(std::find(before.begin(), before.end(), id) == before.end());
  }
}

TEST_CASE("the log is in the order of arrival, with Mooncake's fields and more") {
  const std::string path = temporary("serve_log_order.jsonl");
  {
    RequestLog log(path);
    const auto first = log.begin(tokens(600));
    const auto second = log.begin(tokens(10));
    const auto third = log.begin(tokens(20));
    LoggedRequest request;
    request.sent = SimTime(std::chrono::milliseconds(1500));
    request.input_tokens = 10;
    request.output_tokens = 5;
    log.finish(second, request);
    CHECK(lines_of(path).empty());  // the first has not finished
    request.sent = SimTime(std::chrono::microseconds(1'499'900));
    request.input_tokens = 600;
    request.output_tokens = 11;
    request.ttft = std::chrono::milliseconds(50);
    request.e2e = std::chrono::milliseconds(250);
    request.cached_tokens = 512;
    request.worker = "aggregated/1";
    log.finish(first, request);
    CHECK(lines_of(path).size() == 2);
    log.drop(third);
  }
  const auto lines = lines_of(path);
  REQUIRE(lines.size() == 2);
  CHECK(lines[0]["timestamp"] == 1499);
  CHECK(lines[0]["input_length"] == 600);
  CHECK(lines[0]["output_length"] == 11);
  CHECK(lines[0]["hash_ids"].size() == 2);
  CHECK(lines[0]["ttft_ms"] == 50.0);
  CHECK(lines[0]["itl_ms"] == 20.0);
  CHECK(lines[0]["e2e_ms"] == 250.0);
  CHECK(lines[0]["cached_tokens"] == 512);
  CHECK(lines[0]["worker"] == "aggregated/1");
  CHECK(lines[0]["status"] == "completed");
  CHECK(lines[0]["metadata"]["request_end_ns"] == 1'749'900'000);
  CHECK(lines[0]["metrics"]["time_to_first_token"]["value"] == 50.0);
  CHECK(lines[0]["error"].is_null());
  CHECK(lines[1]["metadata"]["x_request_id"] == "1");
  CHECK(lines[1]["timestamp"] == 1500);
}

TEST_CASE("a log that cannot be written is an error that names it") {
  CHECK_THROWS_AS(RequestLog("/nonexistent/folder/log.jsonl"), Error);
  RequestLog none("");
  CHECK_FALSE(none.enabled());
  none.finish(none.begin(tokens(3)), {});
}
