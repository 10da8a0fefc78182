#include <catch2/catch.hpp>
#include <fstream>
#include <string>
#include <unordered_set>

#include "dyn/core/error.h"
#include "dyn/sim/workload.h"
#include "paths.h"

namespace dyn::sim {
namespace {

Traffic as_is() {
  Traffic traffic;
  traffic.spread_ticks = false;
  return traffic;
}

Workload parse(const std::string& text, const Traffic& traffic = as_is(), std::uint64_t seed = 1) {
  return parse_trace(text, "t.jsonl", traffic, seed);
}

/// The errors of a trace, as text.
std::vector<std::string> errors_of(const std::string& text) {
  try {
    parse(text);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::bad_input);
    std::vector<std::string> out;
    for (const ErrorItem& item : error.items()) {
      REQUIRE(item.where);
      out.push_back(item.where->file + ":" + std::to_string(item.where->line) + ":" +
                    std::to_string(item.where->column) + " " + item.where->path + " " +
                    item.message);
    }
    return out;
  }
  return {};
}

void check_one_error(const std::string& text, const std::string& expected) {
  const std::vector<std::string> errors = errors_of(text);
  INFO(text);
  REQUIRE(errors.size() == 1);
  CHECK_THAT(errors[0], Catch::Matchers::Contains(expected));
}

const std::string kGood =
    R"({"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]})"
    "\n";

TEST_CASE("a trace's lines become requests with chained block hashes") {
  const Workload workload = parse(
      kGood +
      R"({"timestamp": 10.5, "input_length": 1024, "output_length": 7, "hash_ids": [1, 3]})"
      "\r\n\n" +
      R"({"hash_ids": [3], "output_length": 1, "input_length": 1, "timestamp": 11, "delay": 4})");
  REQUIRE(workload.requests.size() == 3);
  CHECK(workload.block_tokens == 512);
  CHECK(workload.concurrency == 0);
  CHECK(workload.requests[1].arrival == SimTime(Duration(10'500'000)));
  CHECK(workload.requests[1].input_tokens == 1024);
  CHECK(workload.requests[1].output_tokens == 7);
  const std::vector<kvbm::BlockHash>& blocks = workload.blocks;
  REQUIRE(blocks.size() == 5);
  CHECK(blocks[0] == blocks[2]);  // equal prefixes
  CHECK(blocks[1] != blocks[3]);
  CHECK(blocks[4] != blocks[3]);  // the same id after another prefix is another block
}

TEST_CASE("a prompt's full engine blocks are parts of the trace's blocks") {
  const Workload workload = parse(kGood);
  const kvbm::PromptBlocks blocks = workload.prompt_blocks(workload.requests[0], 64);
  CHECK(blocks.size() == 9);  // 600 / 64
  CHECK(blocks[0] != blocks[1]);
  CHECK(blocks[8] != blocks[0]);
  CHECK(workload.prompt_blocks(workload.requests[0], 512).size() == 1);
}

TEST_CASE("lines of the usual form are read as the JSON parser reads them") {
  const std::string plain = to_mooncake(make_conversation(300, std::chrono::seconds(100), 3));
  std::string other;  // a field that is let pass is not of the usual form
  for (const char c : plain) {
    other += c;
    other += c == '{' ? R"("other": {"a": [1]}, )" : "";
  }
  Traffic traffic;
  traffic.spread_ticks = false;
  const Workload a = parse_trace(plain, "plain.jsonl", traffic, 1);
  const Workload b = parse_trace(other, "other.jsonl", traffic, 1);
  CHECK(a.blocks == b.blocks);
  CHECK(to_mooncake(a) == plain);
  CHECK(to_mooncake(b) == plain);
}

TEST_CASE("a long trace is the same on any number of threads, odd lines and blank ones too") {
  const auto text_of = [](const std::string& odd) {
    std::string text;
    for (std::uint64_t i = 0; i < 24'000; ++i) {
      const std::uint64_t id = (i * 7919) % (i % 3 == 0 ? 10 : 123'456'789'012ULL);
      text += R"({"timestamp": )" + std::to_string(i / 2) +
              R"(, "input_length": 1500, "output_length": )" + std::to_string(1 + i % 900) +
              R"(, "hash_ids": [1, )" + std::to_string(id) + ", " + std::to_string(i) + "]}\n";
      text += i % 5000 == 0 ? " \n" : "";
    }
    return text + odd;
  };
  const auto read = [](const std::string& text, int threads) {
    TraceOptions options;
    options.traffic = as_is();
    options.threads = threads;
    return parse_trace(text, "t.jsonl", options);
  };
  // The JSON parser reads the whole of the second, because of its last line.
  const std::string plain = R"({"timestamp": 99999, "input_length": 9, "output_length": 9, )";
  const std::string text = text_of(plain + R"("hash_ids": [123456789012345678]})");
  const std::string other = text_of(plain + R"("hash_ids": [123456789012345678], "x": 0})");
  CHECK(text.size() > 2 << 20);
  const Workload one = read(text, 1);
  CHECK(one.requests.size() == 24'001);
  CHECK(one.blocks.size() == 72'001);
  for (const Workload& also : {read(text, 2), read(text, 7), read(other, 2)}) {
    CHECK(also.blocks == one.blocks);
    CHECK(to_mooncake(also) == to_mooncake(one));
  }
  CHECK_THROWS_AS(read(text + R"({"timestamp": 0, "input_length": 9, "output_length": 9, )" +
                           R"("hash_ids": []})",
                       2),
                  Error);
}

TEST_CASE("prompts are cut where they part from one another, and nowhere else") {
  const auto line = [](int tokens, const std::string& ids) {
    return R"({"timestamp": 0, "output_length": 5, "input_length": )" + std::to_string(tokens) +
           R"(, "hash_ids": [)" + ids + "]}\n";
  };
  const Workload workload = parse(line(2560, "1, 2, 3, 4, 5") + line(2048, "1, 2, 6, 7") +
                                  line(512, "1") + line(2560, "1, 2, 3, 4, 5") + line(900, ""));
  const auto ends = [&](std::size_t request) {
    const WorkloadRequest& from = workload.requests[request];
    std::vector<std::uint32_t> result;
    std::uint32_t begin = 0;
    for (std::uint32_t i = 0; i < from.segment_count; ++i) {
      const kvbm::PromptSegment& segment = workload.segments[from.first_segment + i];
      CHECK(segment.id == workload.blocks[from.first_block + begin]);
      result.push_back(begin = segment.end);
    }
    return result;
  };
  CHECK(ends(0) == std::vector<std::uint32_t>{1, 2, 5});
  CHECK(ends(1) == std::vector<std::uint32_t>{1, 2, 4});
  CHECK(ends(2) == std::vector<std::uint32_t>{1});
  CHECK(ends(3) == ends(0));
  CHECK(ends(4).empty());
}

TEST_CASE("a list without ids means a prompt that shares nothing") {
  const Workload workload =
      parse(R"({"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": []})");
  CHECK(workload.requests[0].block_count == 0);
  CHECK(workload.prompt_blocks(workload.requests[0], 16).empty());
}

TEST_CASE("every wrong field of a trace is named with its line and column") {
  const auto with = [](const std::string& line) { return kGood + line + "\n" + kGood; };
  check_one_error(
      with(R"({"timestamp": -1, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]})"),
      "t.jsonl:2:15 /timestamp expected 0 to");
  check_one_error(
      with(R"({"timestamp": "x", "input_length": 600, "output_length": 5, "hash_ids": [1, 2]})"),
      "/timestamp expected a number");
  check_one_error(
      with(R"({"timestamp": 1e300, "input_length": 600, "output_length": 5, "hash_ids": []})"),
      "/timestamp expected 0 to");
  check_one_error(
      with(R"({"timestamp": 0, "input_length": 0, "output_length": 5, "hash_ids": [1, 2]})"),
      "t.jsonl:2:34 /input_length expected 1 to");
  check_one_error(
      with(R"({"timestamp": 0, "input_length": 600, "output_length": -5, "hash_ids": [1, 2]})"),
      "/output_length expected 1 to");
  check_one_error(
      with(R"({"timestamp": 0, "input_length": 99999999999999999999, "output_length": 1,)"
           R"( "hash_ids": []})"),
      "/input_length expected a whole number");
  check_one_error(
      with(R"({"timestamp": 0, "input_length": 1.5, "output_length": 1, "hash_ids": []})"),
      "/input_length expected a whole number");
  check_one_error(
      with(R"({"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [1]})"),
      "/hash_ids 600 tokens are 2 blocks of 512, got 1 ids");
  check_one_error(
      with(R"({"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [1, -2]})"),
      "/hash_ids block id 2 is not a whole number");
  check_one_error(
      with(R"({"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": 7})"),
      "/hash_ids expected a list");
  check_one_error(with(R"({"timestamp": 0, "input_length": 600, "hash_ids": [1, 2]})"),
                  "t.jsonl:2:0  'output_length' is missing");
  check_one_error(with(R"({"timestamp": 0, "timestamp": 1, "input_length": 600})"),
                  "/timestamp given twice");
  check_one_error(with("[1, 2]"), "t.jsonl:2:0  not a JSON object");
  check_one_error(with("nonsense"), "not a JSON object");
  check_one_error(with(kGood.substr(0, kGood.size() - 1) + " {}"), "more than one JSON value");
}

TEST_CASE("a trace that goes back in time is refused") {
  check_one_error(R"({"timestamp": 5, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]})"
                  "\n" +
                      kGood,
                  "t.jsonl:2:15 /timestamp goes back in time");
}

TEST_CASE("a truncated last line is an error wherever it is cut") {
  const std::string line = kGood.substr(0, kGood.size() - 1);
  for (std::size_t length = 1; length < line.size(); ++length) {
    INFO(length);
    CHECK(errors_of(kGood + line.substr(0, length)).size() >= 1);
  }
  CHECK(errors_of(kGood + line).empty());
}

TEST_CASE("all errors of a trace are reported, the first twenty at least") {
  std::string text;
  for (int i = 0; i < 50; ++i) {
    text += i % 2 == 0 ? std::string("{}\n") : kGood;
  }
  // Four fields are missing on each wrong line.
  const std::vector<std::string> errors = errors_of(text);
  CHECK(errors.size() == 20);
  CHECK_THAT(errors.front(), Catch::Matchers::StartsWith("t.jsonl:1:"));
  CHECK_THAT(errors.back(), Catch::Matchers::StartsWith("t.jsonl:9:"));
}

TEST_CASE("a trace without requests or without a file is an error") {
  CHECK_THROWS_AS(parse(""), Error);
  CHECK_THROWS_AS(parse("\n \n"), Error);
  CHECK_THROWS_AS(load_trace("/nonexistent/trace.jsonl", as_is(), 1), Error);
}

std::string tick_line(int millis) {
  return "{\"timestamp\": " + std::to_string(millis) +
         ", \"input_length\": 1, \"output_length\": 1, \"hash_ids\": [7]}\n";
}

TEST_CASE("arrivals that share a timestamp are spread over the gap, in order") {
  std::string text;
  for (int tick = 0; tick < 20; ++tick) {
    for (int i = 0; i <= tick % 4; ++i) {
      text += tick_line(3000 * tick);
    }
  }
  Traffic traffic;
  const Workload spread = parse(text, traffic);
  const Workload plain = parse(text);
  bool moved = false;
  for (std::size_t i = 0; i < plain.requests.size(); ++i) {
    const Duration offset = spread.requests[i].arrival - plain.requests[i].arrival;
    CHECK(offset >= Duration{0});
    CHECK(offset < std::chrono::seconds(3));
    moved = moved || offset > Duration{0};
    CHECK((i == 0 || spread.requests[i].arrival >= spread.requests[i - 1].arrival));
  }
  CHECK(moved);
  CHECK(spread.requests[0].arrival == plain.requests[0].arrival);  // alone on its tick
  CHECK(parse(text, traffic, 2).requests[2].arrival != spread.requests[2].arrival);

  traffic.limit = 7;
  const Workload limited = parse(text, traffic);
  REQUIRE(limited.requests.size() == 7);
  CHECK(limited.requests[6].arrival == spread.requests[6].arrival);
}

TEST_CASE("a lull after a tick is not filled with its requests") {
  Traffic traffic;
  const Workload workload = parse(tick_line(0) + tick_line(1000) + tick_line(2000) +
                                      tick_line(3000) + tick_line(3000) + tick_line(900'000),
                                  traffic);
  CHECK(workload.requests[4].arrival < SimTime(std::chrono::seconds(4)));
}

TEST_CASE("speedup divides arrival times and limit keeps the first requests") {
  Traffic traffic = as_is();
  traffic.speedup = 2;
  traffic.limit = 2;
  const Workload workload = parse(tick_line(0) + tick_line(1000) + tick_line(3000), traffic);
  REQUIRE(workload.requests.size() == 2);
  CHECK(workload.requests[1].arrival == SimTime(std::chrono::milliseconds(500)));
}

/// The share of prompt tokens that an infinite cache would have held, by whole trace blocks.
double reusable_share(const Workload& workload) {
  std::unordered_set<std::uint64_t> seen;
  double reused = 0;
  double all = 0;
  for (const WorkloadRequest& request : workload.requests) {
    bool prefix = true;
    all += static_cast<double>(request.input_tokens);
    for (std::uint32_t i = 0; i < request.block_count; ++i) {
      const auto hash = static_cast<std::uint64_t>(workload.blocks[request.first_block + i]);
      prefix = !seen.insert(hash).second && prefix;
      if (prefix) {
        reused += static_cast<double>(
            std::min<std::int64_t>(512, request.input_tokens - std::int64_t{512} * i));
      }
    }
  }
  return 100 * reused / all;
}

TEST_CASE("the public Mooncake traces have the reuse that is published for them") {
  if (!test::have_reference_data()) {
    WARN("skipped: the reference data is not at hand");
    return;
  }
  const auto load = [](const char* name) {
    return load_trace(test::reference_data(name).string(), as_is(), 1);
  };
  const Workload conversation = load("traces/conversation_trace.jsonl");
  const Workload synthetic = load("traces/synthetic_trace.jsonl");
  CHECK(conversation.requests.size() == 12031);
  CHECK(synthetic.requests.size() == 3993);
  CHECK(reusable_share(conversation) == Approx(37.4).margin(0.2));
  CHECK(reusable_share(synthetic) == Approx(65.1).margin(0.2));
}

TEST_CASE("a made conversation trace resembles the public one") {
  const Workload workload = make_conversation(12'000, std::chrono::seconds(3600), 1);
  REQUIRE(workload.requests.size() == 12'000);
  double input = 0;
  double output = 0;
  SimTime last{};
  for (const WorkloadRequest& request : workload.requests) {
    CHECK(request.arrival >= last);
    last = request.arrival;
    CHECK(request.input_tokens + request.output_tokens <= 32'768);
    input += static_cast<double>(request.input_tokens);
    output += static_cast<double>(request.output_tokens);
  }
  CHECK(last < SimTime(std::chrono::seconds(3601)));
  CHECK(input / 12'000 == Approx(12'035).epsilon(0.05));
  CHECK(output / 12'000 == Approx(343).epsilon(0.05));
  CHECK(reusable_share(workload) == Approx(37.4).margin(2.5));
  CHECK(make_conversation(100, std::chrono::seconds(60), 1).blocks ==
        make_conversation(100, std::chrono::seconds(60), 1).blocks);
  CHECK(make_conversation(100, std::chrono::seconds(60), 1).blocks !=
        make_conversation(100, std::chrono::seconds(60), 2).blocks);
}

TEST_CASE("a workload written in Mooncake's form reads back the same") {
  const Workload made = make_conversation(300, std::chrono::seconds(100), 3);
  const std::string text = to_mooncake(made);
  const Workload read = parse(text);
  REQUIRE(read.requests.size() == made.requests.size());
  for (std::size_t i = 0; i < made.requests.size(); ++i) {
    CHECK(read.requests[i].arrival == made.requests[i].arrival);
    CHECK(read.requests[i].input_tokens == made.requests[i].input_tokens);
    CHECK(read.requests[i].output_tokens == made.requests[i].output_tokens);
    CHECK(read.requests[i].block_count == made.requests[i].block_count);
  }
  CHECK(reusable_share(read) == reusable_share(made));
  CHECK(to_mooncake(read) == text);
}

TEST_CASE("arrivals between milliseconds survive Mooncake's form") {
  Workload workload = parse(kGood);
  workload.requests[0].arrival = SimTime(Duration(1'234'000'560));
  CHECK(to_mooncake(workload).substr(0, 26) == "{\"timestamp\": 1234.00056, ");
  CHECK(parse(to_mooncake(workload)).requests[0].arrival == workload.requests[0].arrival);
}

}  // namespace
}  // namespace dyn::sim
