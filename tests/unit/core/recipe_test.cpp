#include "dyn/core/recipe.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "dyn/core/document.h"
#include "dyn/core/error.h"
#include "dyn/core/node.h"
#include "dyn/core/schemas.h"

namespace dyn {
namespace {

constexpr const char* kIssueExample =
    "schema: dyn.recipe/1\n"
    "model: Qwen/Qwen3-32B          # catalogue name, or a path to a config.json\n"
    "weights: fp8\n"
    "hardware: { gpu: h200, count: 32 }\n"
    "traffic: { trace: conversation.jsonl }\n"
    "slo: { ttft_p99: 2s, itl_p99: 30ms }\n"
    "objective: throughput_per_gpu\n";

Recipe parse(const std::string& text) {
  return parse_recipe(Document::parse(text, "r.yaml"));
}

/// The first line of each error.
std::vector<std::string> errors_of(const std::string& text,
                                   const std::vector<std::string>& overrides = {}) {
  std::vector<std::string> lines;
  try {
    Document document = Document::parse(text, "r.yaml");
    for (const std::string& assignment : overrides) {
      document.set(assignment);
    }
    parse_recipe(document);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::bad_input);
    for (const ErrorItem& item : error.items()) {
      const std::string line = Error(error.kind(), {item}).what();
      lines.push_back(line.substr(0, line.find('\n')));
    }
  }
  return lines;
}

using Lines = std::vector<std::string>;

/// A recipe with a synthetic load, up to and including its traffic's keys.
std::string with_traffic(const std::string& traffic, const std::string& rest = {}) {
  return "schema: dyn.recipe/1\nmodel: m\nhardware: {gpu: h200}\ntraffic: {" + traffic + "}\n" +
         rest;
}

TEST_CASE("The recipe of the README parses") {
  const Recipe recipe = parse(kIssueExample);
  CHECK(recipe.model == "Qwen/Qwen3-32B");
  CHECK(recipe.weights == Precision::fp8);
  CHECK(recipe.hardware.gpu == "h200");
  CHECK(recipe.hardware.count == IntRange{1, 32});
  CHECK(recipe.traffic.trace == "conversation.jsonl");
  CHECK(recipe.slo.ttft_p99 == std::chrono::seconds(2));
  CHECK(recipe.slo.itl_p99 == std::chrono::milliseconds(30));
  CHECK_FALSE(recipe.slo.e2e_p99.has_value());
  CHECK(recipe.objective == Objective::throughput_per_gpu);
  CHECK(recipe.engine == EngineConfig{});
}

TEST_CASE("A load may be synthetic, in YAML or JSON, with either spelling of its rate") {
  for (const char* rate : {"8/s", "8 req/s", "480 req/min"}) {
    const Recipe recipe = parse(with_traffic("isl: 4000, osl: 500, rate: " + std::string(rate)));
    CHECK(recipe.traffic.rate == RequestsPerSec(8));
    CHECK(recipe.traffic.isl == Tokens(4000));
  }
  const Recipe closed = parse(
      R"({"schema": "dyn.recipe/1", "model": "m", "hardware": {"gpu": "h200", "count": "8-32"},
          "traffic": {"isl": 100, "osl": 10, "concurrency": 64, "lengths": "lognormal",
                      "length_spread": 0.5}})");
  CHECK(closed.traffic.concurrency == 64);
  CHECK(closed.hardware.count == IntRange{8, 32});
  CHECK(closed.traffic.lengths == LengthDistribution::lognormal);
}

TEST_CASE("Every error of a file is reported at once, in its order") {
  CHECK(errors_of("schema: dyn.recipe/1\n"
                  "modle: Qwen/Qwen3-32B\n"
                  "weights: fp9\n"
                  "hardware: {gpu: h200, count: 32-8}\n"
                  "traffic:\n"
                  "  isl: 4k\n"
                  "  osl: 500\n"
                  "  rate: 3\n"
                  "slo: {ttft_p99: -2 s, itl_p99: 30}\n"
                  "engine:\n"
                  "  prefix_caching: yes\n"
                  "  block_size: 010\n"
                  "  memory_utilization: 1.5\n") ==
        Lines{
            "r.yaml:1:1: error: missing key 'model' (Catalogue name of the model, or path of a "
            "config.json, relative to the recipe, such as Qwen/Qwen3-32B)",
            "r.yaml:2:1: error: /modle: unknown key 'modle' (did you mean 'model'?)",
            "r.yaml:3:10: error: /weights: expected one of fp32, bf16, fp16, fp8, fp8_block, int8, "
            "fp4, mxfp4, int4; got \"fp9\" (did you mean 'fp8'?)",
            "r.yaml:4:30: error: /hardware/count: expected a range that begins at 1 or above and "
            "does not end before it, got \"32-8\"",
            "r.yaml:6:8: error: /traffic/isl: expected a number of tokens such as 4000, got "
            "\"4k\" (tokens are counted: write digits only, without a unit)",
            "r.yaml:8:9: error: /traffic/rate: expected a rate such as \"12 req/s\", got \"3\" "
            "(add a unit: req/s, req/min, req/h, /s, /min or /h)",
            "r.yaml:9:17: error: /slo/ttft_p99: expected a duration above 0 s such as \"300 "
            "ms\", got \"-2 s\"",
            "r.yaml:9:32: error: /slo/itl_p99: expected a duration such as \"300 ms\", got "
            "\"30\" (add a unit: ns, us, ms, s, min or h)",
            "r.yaml:11:19: error: /engine/prefix_caching: expected true or false, got \"yes\" "
            "(write true)",
            "r.yaml:12:15: error: /engine/block_size: expected a whole number, got \"010\" (write "
            "it without leading zeros: they would mean octal)",
            "r.yaml:13:23: error: /engine/memory_utilization: expected a number above 0 and at "
            "most 1, got \"1.5\"",
        });
}

TEST_CASE("An excerpt shows the line with a caret") {
  try {
    parse(with_traffic("isl: 1, osl: 1, rate: -3/s"));
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(std::string(error.what()) ==
          "r.yaml:4:33: error: /traffic/rate: expected a rate above 0 req/s such as \"12 req/s\", "
          "got \"-3/s\"\n"
          "    4 | traffic: {isl: 1, osl: 1, rate: -3/s}\n"
          "      |                                 ^");
  }
}

/// The messages of what is wrong with a recipe's traffic.
void check_traffic_error(const std::string& traffic, const std::string& expected) {
  INFO(traffic);
  const Lines errors = errors_of(with_traffic(traffic));
  REQUIRE(errors.size() == 1);
  CHECK_THAT(errors[0], Catch::Matchers::Contains(expected));
}

TEST_CASE("Keys of a load that would do nothing are refused") {
  const std::string one = "isl: 5, osl: 5, ";
  check_traffic_error(one + "concurrency: 3, arrivals: gamma", "belongs to an open loop");
  check_traffic_error(one + "rate: 1/s, arrival_cv: 2", "no effect unless arrivals are gamma");
  check_traffic_error(one + "rate: 1/s, peak: 2", "no effect on a steady rate");
  check_traffic_error(one + "rate: 1/s, profile: ramp, peak_share: 0.1", "belongs to profile");
  check_traffic_error(one + "rate: 1/s, profile: bursts, peak: 20", "exceed the mean rate");
  check_traffic_error(one + "rate: 1/s, profile: diurnal, peak: 3", "peaks at 2 times");
  check_traffic_error(one + "rate: 1/s, warmup_per_slot: 2", "belongs to a closed loop");
  check_traffic_error(one + "concurrency: 2, requests: 5, requests_per_slot: 2", "exclude");
  check_traffic_error(one + "rate: 1/s, think_time: 3 s", "sessions of one turn");
  check_traffic_error(one + "rate: 1/s, format: weka", "'format' belongs to a trace");
  check_traffic_error(one + "rate: 1/s, lengths_from: t.csv", "need each other");
  check_traffic_error("rate: 1/s, isl: 3, lengths: empirical, lengths_from: t.csv",
                      "'isl' has no effect");
  check_traffic_error("rate: 1/s, turns: 3, lengths: empirical, lengths_from: t.csv",
                      "missing key 'turn_isl'");
  check_traffic_error("trace: t, rate: 1/s, speedup: 2", "the trace's own times");
  check_traffic_error("trace: t, warmup_per_slot: 2", "belongs to a synthetic load");
  check_traffic_error("rate: 1/s, isl: 5, classes: {a: {isl: 5, osl: 5}}", "'classes' are given");
  check_traffic_error("rate: 1/s, classes: {a: {isl: 5}}", "missing key 'osl'");
  check_traffic_error("rate: 1/s, classes: {a: {isl: 5, osl: 5, weight: 0}}", "above 0");
}

TEST_CASE("Classes of a mix have lengths and targets of their own") {
  const Recipe recipe =
      parse(with_traffic("rate: 1/s, classes: {chat: {isl: 5, osl: 6, weight: 3, priority: 2, slo: "
                         "{ttft_p99: 1s}}, batch: {isl: 50, osl: 60, turns: 4}}"));
  REQUIRE(recipe.traffic.classes.size() == 2);
  CHECK(recipe.traffic.classes[0].name == "chat");
  CHECK(recipe.traffic.classes[0].weight == 3);
  CHECK(recipe.traffic.classes[0].priority == 2);
  CHECK(recipe.traffic.classes[0].slo.ttft_p99 == std::chrono::seconds(1));
  CHECK(recipe.traffic.classes[1].isl == Tokens(50));
  CHECK(recipe.traffic.classes[1].turns == 4);
}

TEST_CASE("Traffic is either a trace or a synthetic load") {
  CHECK(errors_of(with_traffic("trace: t.jsonl, isl: 5, requests: 10")) ==
        Lines{"r.yaml:4:32: error: /traffic/isl: 'isl' belongs to a synthetic load, but 'trace' is "
              "given (give one or the other)",
              "r.yaml:4:45: error: /traffic/requests: 'requests' belongs to a synthetic load, but "
              "'trace' is given ('limit' shortens a trace)"});
  CHECK(errors_of(with_traffic("isl: 5, osl: 5, rate: 1/s, concurrency: 3")) ==
        Lines{"r.yaml:4:51: error: /traffic/concurrency: 'rate' and 'concurrency' exclude each "
              "other (an open loop has a rate, a closed one a concurrency)"});
  CHECK(errors_of(with_traffic("rate: 1/s, speedup: 2")) ==
        Lines{"r.yaml:4:10: error: /traffic: missing key 'isl' (a synthetic load needs isl and "
              "osl, such as 4000 and 500)",
              "r.yaml:4:10: error: /traffic: missing key 'osl' (a synthetic load needs isl and "
              "osl, such as 4000 and 500)",
              "r.yaml:4:31: error: /traffic/speedup: 'speedup' belongs to a trace, but none is "
              "given (give 'trace' too)"});
  CHECK(errors_of(with_traffic("isl: 5, osl: 5")) ==
        Lines{"r.yaml:4:10: error: /traffic: missing key 'rate' or 'concurrency' (such as rate: 8 "
              "req/s, or concurrency: 64)"});
  CHECK(errors_of(with_traffic("isl: 5, osl: 5, rate: 1/s, lengths: normal")).size() == 1);
  CHECK(errors_of(with_traffic("isl: 5, osl: 5, rate: 1/s, length_spread: 1")).size() == 1);
  CHECK(errors_of(with_traffic("isl: 5, osl: 5, rate: 1/s, lengths: uniform, length_spread: 1.5"))
            .size() == 1);
  CHECK(errors_of(with_traffic("isl: 5, osl: 5, rate: 1/s, shared_prefix: 6")).size() == 1);
}

TEST_CASE("The schema line says what a file is") {
  CHECK(errors_of("model: m\n") ==
        Lines{"r.yaml:1:1: error: missing key 'schema' (begin the file with 'schema: "
              "dyn.recipe/1')"});
  CHECK(errors_of("{\"model\": 1}") ==
        Lines{"r.yaml:1:1: error: missing key 'schema' (begin the file with {\"schema\": "
              "\"dyn.recipe/1\", ...)"});
  CHECK(errors_of("schema: dyn.recipe/2\nfoo: 1\n") ==
        Lines{"r.yaml:1:9: error: /schema: dyn.recipe/2 is newer than what this dyn (0.1.0) "
              "reads, dyn.recipe/1 (use a newer dyn)"});
  CHECK(errors_of("schema: dyn.plan/1\n") ==
        Lines{"r.yaml:1:9: error: /schema: this is a plan (dyn.plan); a recipe (dyn.recipe) is "
              "needed here (`dyn serve` runs plans)"});
  CHECK(errors_of("schema: recipe\n") ==
        Lines{"r.yaml:1:9: error: /schema: expected dyn.recipe/1, got \"recipe\""});
  CHECK(errors_of("schema: dyn.recipe/x\n").size() == 1);
  CHECK(errors_of("- a\n").size() == 1);
  CHECK(errors_of("").size() == 1);
  CHECK(errors_of("hello") ==
        Lines{"r.yaml:1:1: error: expected a recipe (dyn.recipe), got \"hello\" (begin the file "
              "with 'schema: dyn.recipe/1')"});
}

TEST_CASE("Lists and values across sections are checked") {
  CHECK(errors_of(with_traffic("trace: t", "search: {tensor: [1, 2, 1], replay: 0}\n")) ==
        Lines{"r.yaml:5:37: error: /search/replay: expected a whole number from 1 to 10000, got "
              "\"0\""});
  CHECK(errors_of(with_traffic("trace: t", "search: {tensor: [1, 2, 1]}\n")) ==
        Lines{"r.yaml:5:25: error: /search/tensor/2: given twice: 1"});
  CHECK(errors_of(with_traffic("trace: t", "search: {tensor: [1, 0, x]}\n")) ==
        Lines{"r.yaml:5:25: error: /search/tensor/2: expected a whole number, got \"x\""});
  CHECK(errors_of(with_traffic("trace: t", "search: {tensor: 4}\n")) ==
        Lines{"r.yaml:5:18: error: /search/tensor: expected a list of whole numbers, got \"4\" "
              "(write it in brackets: [...])"});
  CHECK(errors_of(with_traffic("trace: t", "search: {aggregated: false, disaggregated: false}\n"))
            .size() == 1);
  CHECK(errors_of(with_traffic("trace: t", "search: {tensor: [16]}\n")).size() == 1);
  CHECK(errors_of(with_traffic("trace: t", "engine: vllm\n")) ==
        Lines{"r.yaml:5:9: error: /engine: expected an object with the keys of engine, got "
              "\"vllm\""});
  CHECK(errors_of(with_traffic("trace: t", "hardware2: {}\n")) ==
        Lines{"r.yaml:5:1: error: /hardware2: unknown key 'hardware2' (did you mean 'hardware'?)"});
}

TEST_CASE("Settings of engines that exclude each other are refused") {
  CHECK(
      errors_of(with_traffic("trace: t",
                             "engine: {queue: priority, sglang: {schedule_policy: "
                             "lpm}}\n")) ==
      Lines{
          "r.yaml:5:35: error: /engine/sglang: SGLang orders by priority or by cached prefix, not "
          "by both (leave schedule_policy out, or queue)"});
  const std::string tiers = "kv_tiers: {host: {capacity: 1 GiB}}\n";
  CHECK(errors_of(with_traffic("trace: t", "engine: {hybrid_kv_cache: false}\n" + tiers)).empty());
  CHECK(errors_of(with_traffic("trace: t", "engine: {hybrid_kv_cache: true}\n" + tiers)).size() ==
        1);
}

TEST_CASE("SGLang's pools have sizes that something runs in") {
  const auto sglang = [](const std::string& settings, const std::string& more = "") {
    return with_traffic("trace: t",
                        "engine: {kind: sglang, sglang: {" + settings + "}" + more + "}\n");
  };
  const SglangConfig given = parse(sglang("swa_full_tokens_ratio: 0.25, mamba_full_memory_ratio: "
                                          "2, max_mamba_cache_size: 300"))
                                 .engine.sglang;
  CHECK(given.swa_full_tokens_ratio == 0.25);
  CHECK(given.mamba_full_memory_ratio == 2);
  CHECK(given.max_mamba_cache_size == 300);
  CHECK(errors_of(sglang("swa_full_tokens_ratio: 0")) ==
        Lines{"r.yaml:5:56: error: /engine/sglang/swa_full_tokens_ratio: expected a number above "
              "0 and at most 1, got \"0\""});
  CHECK(errors_of(sglang("swa_full_tokens_ratio: 1.5")).size() == 1);
  CHECK(errors_of(sglang("mamba_full_memory_ratio: -1")).size() == 1);
  CHECK(errors_of(sglang("max_mamba_cache_size: 0")).size() == 1);
  CHECK(errors_of(sglang("max_mamba_cache_size: 2")) ==
        Lines{"r.yaml:5:32: error: /engine/sglang: max_mamba_cache_size lets nobody run: a request "
              "takes 3 states (give it more, or switch prefix_caching off)"});
  CHECK(errors_of(sglang("max_mamba_cache_size: 2", ", prefix_caching: false")).empty());
}

TEST_CASE("An unknown key that is near to none gets the list of keys") {
  CHECK(errors_of(with_traffic("trace: t", "search: {zzzzzzzz: 1}\n")) ==
        Lines{"r.yaml:5:10: error: /search/zzzzzzzz: unknown key 'zzzzzzzz' (the keys here are "
              "aggregated, disaggregated, tensor, pipeline, max_num_batched_tokens, "
              "max_num_seqs, replay)"});
}

TEST_CASE("Null takes the default, but not where a value is required") {
  CHECK(parse(with_traffic("trace: t", "seed: null\nweights: ~\n")).seed == 1);
  CHECK(errors_of("schema: dyn.recipe/1\nmodel:\nhardware: {gpu: h200}\ntraffic: {trace: t}\n")
            .size() == 1);
}

TEST_CASE("--set overrides, adds and takes away, and its errors name the flag") {
  Document document = Document::parse(kIssueExample, "r.yaml");
  document.set("traffic.trace=");
  document.set("traffic.isl=100");
  document.set("traffic.osl=10");
  document.set("traffic.rate=5/s");
  document.set("search.tensor=[1, 2]");
  document.set("search.tensor.1=4");
  document.set("search.tensor.2=8");
  document.set("engine.prefix_caching=false");
  const Recipe recipe = parse_recipe(document);
  CHECK_FALSE(recipe.traffic.trace.has_value());
  CHECK(recipe.traffic.rate == RequestsPerSec(5));
  CHECK(recipe.search.tensor == std::vector<int>{1, 4, 8});
  CHECK_FALSE(recipe.engine.prefix_caching);

  CHECK(errors_of(kIssueExample, {"slo.ttft_p99=2", "engine.blok_size=3"}) ==
        Lines{"--set slo.ttft_p99=2: error: /slo/ttft_p99: expected a duration such as \"300 "
              "ms\", got \"2\" (add a unit: ns, us, ms, s, min or h)",
              "--set engine.blok_size=3: error: /engine/blok_size: unknown key 'blok_size' (did "
              "you mean 'block_size'?)"});
}

TEST_CASE("Paths are seen from the folder of the file that names them") {
  CHECK(resolve_beside("a/b/r.yaml", "t.jsonl") == "a/b/t.jsonl");
  CHECK(resolve_beside("a/b/r.yaml", "../t.jsonl") == "a/t.jsonl");
  CHECK(resolve_beside("r.yaml", "t.jsonl") == "t.jsonl");
  CHECK(resolve_beside("a/r.yaml", "/x/t.jsonl") == "/x/t.jsonl");
}

TEST_CASE("Every default is explained with its reason") {
  const std::string text = explain_recipe_defaults();
  CHECK(text.find("engine.max_num_seqs = 256  # vLLM's own\n") != std::string::npos);
  CHECK(text.find("weights = what the checkpoint holds\n") != std::string::npos);
  CHECK(text.find("search.pipeline = [1]  # stages lengthen") != std::string::npos);
  CHECK(text.find("model =") == std::string::npos);
}

TEST_CASE("The defaults as a document are those of the text") {
  const Document document = Document::parse(recipe_defaults_json(), "defaults.json");
  const Node list = *document.root().find("defaults");
  std::string text;
  for (const Node& item : list.children()) {
    const std::string reason = item.find("reason")->text();
    text += item.find("key")->text() + " = " + item.find("default")->text();
    text += reason.empty() ? "\n" : "  # " + reason + '\n';
  }
  CHECK(text == explain_recipe_defaults());
}

TEST_CASE("Loading a recipe reports what its text, its keys, the catalogues and files have wrong") {
  const std::string path = "recipe_test_all.yaml";
  std::ofstream(path) << "schema: dyn.recipe/1\n"
                         "model: Qwen/Qwen3-33B\n"
                         "hardware: { gpu: h201, count: 8x }\n"
                         "traffic: { trace: nowhere.jsonl }\n"
                         "model: twice\n";
  std::vector<std::string> messages;
  try {
    load_recipe(path);
  } catch (const Error& error) {
    for (const ErrorItem& item : error.items()) {
      messages.push_back(std::to_string(item.where->line) + ' ' + item.message);
    }
  }
  std::filesystem::remove(path);
  REQUIRE(messages.size() == 5);
  CHECK_THAT(messages[0], Catch::StartsWith("2 unknown model 'Qwen/Qwen3-33B'"));
  CHECK_THAT(messages[1], Catch::StartsWith("3 unknown GPU 'h201'"));
  CHECK_THAT(messages[2], Catch::StartsWith("3 expected a number or a range"));
  CHECK_THAT(messages[3], Catch::StartsWith("4 there is no file nowhere.jsonl"));
  CHECK_THAT(messages[4], Catch::StartsWith("5 duplicate key 'model'"));
}

TEST_CASE("A recipe survives being written and read") {
  Recipe recipe = parse(kIssueExample);
  recipe.hardware.price_per_gpu = DollarsPerHour(2.5);
  recipe.search.tensor = {1, 2, 4};
  recipe.engine.kv_blocks = 12345;
  const std::string text = write_document(recipe_schema(), &recipe);
  CHECK(write_document(recipe_schema(), &recipe) == text);
  const Recipe back = parse_recipe(Document::parse(text, "r.json"));
  CHECK(write_document(recipe_schema(), &back) == text);
  CHECK(back.hardware.price_per_gpu == recipe.hardware.price_per_gpu);
  CHECK(back.slo == recipe.slo);
  CHECK(back.engine == recipe.engine);
}

}  // namespace
}  // namespace dyn
