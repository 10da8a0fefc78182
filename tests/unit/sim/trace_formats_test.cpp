// Readers of traces in other forms than Mooncake's own.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "../../fuzz/trace_formats_target.h"
#include "dyn/core/error.h"
#include "dyn/core/report.h"
#include "dyn/sim/workload.h"
#include "paths.h"

namespace dyn::sim {
namespace {

constexpr Duration ms(std::int64_t count) {
  return std::chrono::milliseconds(count);
}

TraceOptions as_is() {
  TraceOptions options;
  options.traffic.spread_ticks = false;
  options.block_tokens = 16;
  return options;
}

TraceOptions closed() {
  TraceOptions options = as_is();
  options.traffic.concurrency = 2;
  return options;
}

Workload parse(const std::string& text, const TraceOptions& options = as_is()) {
  return parse_trace(text, "t", options);
}

std::string error_of(const std::string& text, const TraceOptions& options = as_is()) {
  try {
    parse(text, options);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::bad_input);
    return error.what();
  }
  return {};
}

void check_error(const std::string& text, const std::string& expected,
                 const TraceOptions& options = as_is()) {
  INFO(text);
  CHECK_THAT(error_of(text, options), Catch::Matchers::Contains(expected));
}

void check_follow(const Workload& workload, std::size_t index, std::uint32_t before,
                  std::uint32_t after, Duration delay) {
  REQUIRE(index < workload.follow_ups.size());
  CHECK(workload.follow_ups[index].before == before);
  CHECK(workload.follow_ups[index].after == after);
  CHECK(workload.follow_ups[index].delay == delay);
}

bool same_block(const Workload& workload, std::size_t one, std::size_t other, std::uint32_t i) {
  return workload.blocks[workload.requests[one].first_block + i] ==
         workload.blocks[workload.requests[other].first_block + i];
}

TEST_CASE("lines of one session follow each other after their delay") {
  const std::string text =
      R"({"session_id": "a", "timestamp": 10, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]})"
      "\n"
      R"({"session_id": 7, "timestamp": 20, "input_length": 5, "output_length": 6, "priority": 3})"
      "\n"
      R"({"session_id": "a", "delay": 250, "input_length": 700, "output_length": 7, "hash_ids": [1, 3]})"
      "\n"
      R"({"session_id": "a", "timestamp": 9000, "input_length": 1, "output_length": 8})";
  CHECK(detect_format(text, "t") == TraceFormat::sessions);
  const Workload workload = parse(text);
  REQUIRE(workload.requests.size() == 4);
  REQUIRE(workload.follow_ups.size() == 2);
  check_follow(workload, 0, 0, 2, ms(250));
  check_follow(workload, 1, 2, 3, ms(0));
  CHECK(workload.requests[0].arrival == SimTime(ms(10)));
  CHECK(workload.requests[2].arrival == SimTime(ms(260)));  // not before then
  CHECK(workload.requests[3].arrival == SimTime(ms(9000)));
  CHECK(workload.sessions == std::vector<std::uint32_t>{0, 1, 0, 0});
  CHECK(workload.priorities == std::vector<std::int32_t>{0, 3, 0, 0});
  CHECK(same_block(workload, 0, 2, 0));
}

TEST_CASE("a wrong line of sessions is named with its field") {
  const std::string first = R"({"session_id": "a", "timestamp": 5, "input_length": 9, )"
                            R"("output_length": 5})"
                            "\n";
  const auto with = [&](const std::string& line) { return first + line; };
  check_error(with(R"({"session_id": "b", "input_length": 9, "output_length": 5})"),
              "t:2:1: error: 'timestamp' is missing");
  check_error(with(R"({"session_id": "b", "timestamp": 4, "input_length": 9, "output_length": 5})"),
              "t:2:34: error: /timestamp: goes back in time");
  check_error(with(R"({"session_id": "a", "delay": -1, "input_length": 9, "output_length": 5})"),
              "t:2:30: error: /delay: expected 0 to");
  check_error(with(R"({"session_id": "a", "input_length": 0, "output_length": 5})"),
              "t:2:37: error: /input_length: expected 1 to");
  check_error(with(R"({"session_id": "a", "input_length": 9})"), "'output_length' is missing");
  check_error(with(R"({"session_id": [], "input_length": 9, "output_length": 5})"),
              "/session_id: expected a whole number");
  check_error(
      with(R"({"session_id": "a", "input_length": 9, "output_length": 5, "hash_ids": [1, 2]})"),
      "9 tokens are 1 blocks of 512, got 2 ids");
  check_error(with("{"), "not a JSON object");
}

TEST_CASE("a request beyond the context is named with its line, in every form") {
  TraceOptions options = as_is();
  options.max_context = 1000;
  const std::string line =
      R"({"timestamp": 0, "input_length": 990, "output_length": 10, "hash_ids": []})";
  CHECK(error_of(line, options).empty());
  check_error(line + "\n\n" +
                  R"({"timestamp": 0, "input_length": 990, "output_length": 11, "hash_ids": []})",
              "t:3:34: error: /input_length: 990 prompt and 11 output tokens exceed the context of "
              "1000",
              options);
  check_error(R"({"timestamp": 0, "session_id": "a", "input_length": 990, "output_length": 11})",
              "t:1:53: error: /input_length: 990 prompt", options);
  check_error("arrived_at,num_prefill_tokens,num_decode_tokens\n0.5,1000,1\n",
              "t:2:5: error: /num_prefill_tokens: 1000 prompt", options);
  options.traffic.concurrency = 1;
  check_error(R"({"sub_requests": [{"input_toks": 999, "output_toks": 2}]})",
              "t:1:34: error: /sub_requests/0/input_toks: 999 prompt", options);
  check_error(R"({"block_size": 64, "requests": [{"t": 0, "in": 999, "out": 2}]})",
              "t:1:48: error: /requests/0/in: 999 prompt", options);
}

TEST_CASE("Azure's and Vidur's tables have arrivals and lengths") {
  const std::string azure =
      "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
      "2023-11-16 18:15:46.6805900,374,44\r\n"
      "2023-11-16 18:15:50.9951690,396,109\r\n"
      "2023-11-17T00:00:00Z,1,2\r\n";
  CHECK(detect_format(azure, "t") == TraceFormat::azure);
  const Workload workload = parse(azure);
  REQUIRE(workload.requests.size() == 3);
  CHECK(workload.requests[0].arrival == SimTime{});
  CHECK(workload.requests[1].arrival == SimTime(Duration(4'314'579'000)));
  CHECK(workload.requests[2].arrival == SimTime(Duration(20'653'319'410'000)));
  CHECK(workload.requests[1].input_tokens == 396);
  CHECK(workload.requests[1].output_tokens == 109);
  const Workload vidur =
      parse("arrived_at,num_prefill_tokens,num_decode_tokens\n1.5,374,44\n4.314579,396,109\n");
  CHECK(vidur.requests[1].arrival == SimTime(Duration(2'814'579'000)));
}

TEST_CASE("a wrong cell of a table is named with its column") {
  const std::string heading = "arrived_at,num_prefill_tokens,num_decode_tokens\n";
  check_error(heading + "x,3,4\n", "t:2:1: error: /arrived_at: expected seconds or a date");
  check_error(heading + "1,x,4\n", "t:2:3: error: /num_prefill_tokens: expected a whole number");
  check_error(heading + "1,3,0\n", "t:2:5: error: /num_decode_tokens: expected 1 to");
  check_error(heading + "1,3\n", "t:2:1: error: expected 3 columns");
  check_error(heading + "2,3,4\n1,3,4\n", "t:3:1: error: /arrived_at: goes back in time");
  const std::string both = error_of(heading + "1,3,4\n0.5,3,4\n1,0,4\n");
  CHECK_THAT(both, Catch::Matchers::Contains("t:3:1: error: /arrived_at: goes back in time"));
  CHECK_THAT(both, Catch::Matchers::Contains("t:4:3: error: /num_prefill_tokens: expected 1 to"));
  check_error(heading + "1,3,4\n1e9,3,4\n", "more than three years after the start");
  check_error("num_prefill_tokens,num_decode_tokens\n1,3\n", "has no column 'timestamp'");
  check_error("a,b,c\n1,2,3\n", "not a trace of a known form");
}

TEST_CASE("BurstGPT's table leaves failures out and keeps sessions in order") {
  const std::string text =
      "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log "
      "Type\n"
      "5,a,1,ChatGPT,472,18,490,Conversation log\n"
      "45,,1,ChatGPT,0,0,0,API log\n"
      "46,a,1,\"GPT-4\",10,20,30,Conversation log\n"
      "50,,1,GPT-4,11,21,32,API log\n";
  CHECK(detect_format(text, "t") == TraceFormat::burst_gpt);
  const Workload workload = parse(text);
  REQUIRE(workload.requests.size() == 3);
  CHECK(workload.requests[1].arrival == SimTime(std::chrono::seconds(41)));
  REQUIRE(workload.follow_ups.size() == 1);
  check_follow(workload, 0, 0, 1, ms(0));
  CHECK(parse("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
              "5,ChatGPT,472,18,490,Conversation log\n")
            .follow_ups.empty());
}

TEST_CASE("AIPerf's inputs.json has payloads as they are sent") {
  const std::string text =
      R"({"data": [
  {"session_id": "a", "payloads": [
    {"messages": [{"role": "user", "content": "0123456789abcdef"}], "max_tokens": 8},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "0123"}]}],
     "max_completion_tokens": 4}]},
  {"session_id": "b", "payloads": [{"prompt": "01234567", "max_tokens": 2}]}]})";
  CHECK(detect_format(text, "t") == TraceFormat::aiperf);
  const Workload workload = parse(text, closed());
  REQUIRE(workload.requests.size() == 3);
  CHECK(workload.requests[0].input_tokens == 4);
  CHECK(workload.requests[1].input_tokens == 1);
  CHECK(workload.requests[1].output_tokens == 4);
  CHECK(workload.requests[2].input_tokens == 2);
  REQUIRE(workload.follow_ups.size() == 1);
  CHECK(workload.concurrency == 2);
  check_error(text, "does not say when its requests come");
  check_error(R"({"data": [{"payloads": [{"max_tokens": 8}]}]})",
              "t:1:25: error: /data/0/payloads/0: the turn has no text", closed());
  check_error(R"({"data": [{"payloads": [{"prompt": "x"}]}]})", "how long the answer is", closed());
}

TEST_CASE("AIPerf's multi_turn prompts grow by the turns before") {
  const std::string text =
      R"({"session_id": "s", "turns": [{"text": ")" + std::string(160, 'x') +
      R"(", "max_tokens": 30}, {"text": "again and again.", "delay": 10, "max_tokens": 3}]})";
  const Workload workload = parse(text, closed());
  REQUIRE(workload.requests.size() == 2);
  CHECK(workload.requests[0].input_tokens == 40);
  CHECK(workload.requests[1].input_tokens == 40 + 30 + 4);
  check_follow(workload, 0, 0, 1, ms(10));
  CHECK(same_block(workload, 0, 1, 0));
  CHECK(same_block(workload, 0, 1, 1));
}

TEST_CASE("AIPerf's single turns that begin alike share blocks") {
  const std::string start(128, 'x');
  TraceOptions options = as_is();
  options.traffic.osl = Tokens(9);
  const Workload workload = parse(R"({"text": ")" + start + R"(a", "timestamp": 1})" + "\n" +
                                      R"({"texts": [")" + start + R"(b"], "timestamp": 3})",
                                  options);
  REQUIRE(workload.requests.size() == 2);
  CHECK(workload.requests[1].arrival == SimTime(ms(3)));
  CHECK(workload.requests[1].output_tokens == 9);
  CHECK(same_block(workload, 0, 1, 1));
  CHECK(!same_block(workload, 0, 1, 2));
}

TEST_CASE("a run's own log is replayed in the order of its sends") {
  const auto line = [](std::int64_t start, int input, int output, const char* phase) {
    return R"({"metadata":{"session_num":0,"request_start_ns":)" + std::to_string(start) +
           R"(,"benchmark_phase":")" + phase +
           R"("},"metrics":{"input_sequence_length":{"value":)" + std::to_string(input) +
           R"(,"unit":"tokens"},"output_sequence_length":{"value":)" + std::to_string(output) +
           R"(,"unit":"tokens"}},"error":null})" + "\n";
  };
  const std::string text = line(5'000'000, 9, 2, "profiling") + line(1'000'000, 1, 1, "warmup") +
                           line(3'000'000, 8, 1, "profiling") + line(4'000'000, 7, 0, "profiling");
  CHECK(detect_format(text, "t") == TraceFormat::aiperf_log);
  const Workload workload = parse(text);
  REQUIRE(workload.requests.size() == 2);
  CHECK(workload.requests[0].input_tokens == 8);
  CHECK(workload.requests[1].arrival == SimTime(ms(2)));
  check_error(R"({"metadata":{"request_start_ns":-4},"metrics":{}})",
              "t:1:33: error: /metadata/request_start_ns: expected a time");
  RequestRecord record;
  record.sent = SimTime(ms(4));
  record.first_token = record.finished = SimTime(ms(6));
  record.input_tokens = 12;
  record.output_tokens = 1;
  CHECK(parse(to_request_export(std::vector<RequestRecord>(1, record))).requests[0].input_tokens ==
        12);
}

TEST_CASE("the log of dyn serve is read as Mooncake's, which says what prompts share") {
  const std::string line =
      R"({"timestamp": 7, "input_length": 600, "output_length": 5, "hash_ids": [1, 2], )"
      R"("ttft_ms": 3.0, "status": "completed", "metadata":{"request_start_ns":7000000},)"
      R"("metrics":{"input_sequence_length":{"value":600,"unit":"tokens"}},"error":null})";
  CHECK(detect_format(line, "t") == TraceFormat::mooncake);
  const Workload workload = parse(line + "\n" + line);
  REQUIRE(workload.requests.size() == 2);
  CHECK(workload.requests[0].block_count == 2);
}

TEST_CASE("agentic sub-requests follow after their tools") {
  const std::string text = R"({"session_id": "x", "arrival_time_ns": 5000000, "sub_requests": [)"
                           R"({"input_toks": 40, "output_toks": 8, "tool_duration_ns": 2000000},)"
                           R"({"input_toks": 64, "output_toks": 3, "tool_duration_ns": 0}]})"
                           "\n"
                           R"({"input_toks": 3, "output_toks": 4, "arrival_time_ns": 9000000})";
  CHECK(detect_format(text, "t") == TraceFormat::sub_requests);
  const Workload workload = parse(text);
  REQUIRE(workload.requests.size() == 3);
  check_follow(workload, 0, 0, 1, ms(2));
  CHECK(workload.requests[1].arrival == SimTime(ms(7)));
  CHECK(workload.requests[2].arrival == SimTime(ms(9)));
  CHECK(same_block(workload, 0, 1, 1));
  TraceOptions options = as_is();
  options.traffic.max_delay = ms(1);
  options.traffic.speedup = 2;
  const Workload cut = parse(text, options);
  CHECK(cut.follow_ups[0].delay == ms(1) / 2);
  CHECK(cut.requests[2].arrival == SimTime(ms(9) / 2));
  check_error(R"({"arrival_time_ns": 0, "sub_requests": [{"input_toks": 3}]})",
              "'output_toks' is missing");
}

constexpr const char* kWeka =
    R"({"id": "t", "block_size": 64, "hash_id_scope": "local", "requests": [)"
    R"({"t": 0, "type": "n", "in": 130, "out": 5, "hash_ids": [1, 2], "api_time": 1},)"
    R"({"t": 2, "type": "subagent", "requests": [)"
    R"({"t": 2.5, "type": "s", "in": 70, "out": 2, "hash_ids": [1], "api_time": 1},)"
    R"({"t": 4, "type": "s", "in": 80, "out": 2, "hash_ids": [1], "api_time": 1}]},)"
    R"({"t": 3, "type": "n", "in": 140, "out": 5, "hash_ids": [1, 2], "api_time": 1},)"
    R"({"t": 9, "type": "n", "in": 200, "out": 3, "hash_ids": [1, 2, 3]}]})";

TEST_CASE("a session waits for the sub-agents that it waited for when it was recorded") {
  CHECK(detect_format(kWeka, "t") == TraceFormat::weka);
  const Workload workload = parse(kWeka, closed());
  CHECK(workload.block_tokens == 64);
  REQUIRE(workload.requests.size() == 5);
  REQUIRE(workload.follow_ups.size() == 5);
  check_follow(workload, 0, 0, 1, ms(1500));  // the sub-agent begins
  check_follow(workload, 1, 0, 3, ms(2000));  // the session goes on meanwhile
  check_follow(workload, 2, 1, 2, ms(500));
  check_follow(workload, 3, 2, 4, ms(4000));  // and then waits for it
  check_follow(workload, 4, 3, 4, ms(5000));
  CHECK(same_block(workload, 0, 1, 0));  // one trace is one namespace
  CHECK(workload.sessions == std::vector<std::uint32_t>(5, 0));
  const Workload two = parse(std::string(kWeka) + "\n" + kWeka, closed());
  CHECK(!same_block(two, 0, 5, 0));  // another session's ids are other blocks
  check_error(
      R"({"block_size": 64, "requests": [{"t": 0, "in": 64, "out": 1, "hash_ids": [1, 2]}]})",
      "t:1:74: error: /requests/0/hash_ids: 64 tokens are at most 1 blocks of 64, got 2", closed());
  check_error(R"({"block_size": 64, "requests": []})", "/requests: the session has no requests",
              closed());
}

TEST_CASE("times of a sub-agent that lie before it count from it") {
  const Workload workload =
      parse(R"({"block_size": 16, "requests": [{"t": 100, "in": 3, "out": 5, "api_time": 1},)"
            R"({"t": 102, "type": "subagent", "requests": [{"t": 3, "in": 3, "out": 2}]}]})",
            closed());
  check_follow(workload, 0, 0, 1, ms(4000));
}

TEST_CASE("rate and concurrency stand in for a trace's own times") {
  const std::string text =
      "arrived_at,num_prefill_tokens,num_decode_tokens\n0,3,4\n9,3,4\n10,3,4\n";
  const Workload slots = parse(text, closed());
  CHECK(slots.concurrency == 2);
  TraceOptions options = as_is();
  options.traffic.rate = RequestsPerSec(10);
  options.traffic.arrivals = ArrivalProcess::constant;
  const Workload paced = parse(text, options);
  CHECK(paced.concurrency == 0);
  CHECK(paced.requests[2].arrival == SimTime(ms(300)));
}

TEST_CASE("the corpus of the fuzzer of trace forms passes") {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(
           dyn::test::source_path("tests/fuzz/corpus/trace_formats_fuzz"))) {
    INFO(entry.path());
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string data{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    fuzz::try_trace(data);
    // Any of the readers may get it, and any part of it.
    for (char choice = 0; choice < 18; ++choice) {
      fuzz::try_trace(choice + data.substr(1));
      fuzz::try_trace(choice + data.substr(1, data.size() / 2));
    }
    ++files;
  }
  CHECK(files >= 12);
}

}  // namespace
}  // namespace dyn::sim
