#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <string>

#include "dyn/core/catalogue.h"
#include "dyn/core/document.h"
#include "dyn/core/error.h"
#include "dyn/core/schemas.h"

namespace dyn {
namespace {

using Lines = std::vector<std::string>;

double real(int low, int high) {
  const auto scaled = *rc::gen::inRange<std::int64_t>(std::int64_t{low} * 1'000'003,
                                                      std::int64_t{high} * 1'000'003);
  return static_cast<double>(scaled) / 1'000'003.0;
}

Duration duration() {
  return Duration(*rc::gen::inRange<std::int64_t>(0, 5'000'000'000));
}

std::string words() {
  return *rc::gen::element<std::string>("measured", "a \"quoted\" text", "päper,\n§2", "a: b # c",
                                        "010", "yes", "\\", "1.5");
}

OperatorFit any_fit() {
  OperatorFit fit;
  fit.kind = *rc::gen::element(OperatorKind::gemm, OperatorKind::attention_decode,
                               OperatorKind::all_reduce, OperatorKind::sampling);
  fit.precision = *rc::gen::element(Precision::bf16, Precision::fp8, Precision::mxfp4);
  fit.gpus = *rc::gen::inRange(1, 64);
  fit.compute_efficiency = real(0, 1) * 0.9 + 0.05;
  fit.overhead = duration();
  double x = 0;
  for (int i = *rc::gen::inRange(0, 5); i > 0; --i) {
    x += real(0, 1000) + 0.5;
    fit.correction.push_back({x, real(0, 3) + 0.01});
  }
  fit.relative_error = real(0, 1);
  fit.provenance = *rc::gen::element(Provenance::measured, Provenance::extrapolated);
  fit.source = words();
  return fit;
}

Profile any_profile() {
  Profile profile;
  profile.name = "x" + words();
  profile.description = words();
  profile.device = find_gpu("h200");
  profile.device.memory = Bytes(*rc::gen::inRange<std::int64_t>(1, 1'000'000'000'000));
  profile.device.memory_bandwidth = BytesPerSec((real(0, 10) + 0.1) * 1e12);
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i) {
    profile.operators.push_back(any_fit());
  }
  std::optional<ServingFactors> serving;
  if (*rc::gen::arbitrary<bool>()) {
    serving = {real(1, 10), real(1, 10), real(1, 10), real(1, 10), real(1, 10), words()};
  }
  profile.engines.push_back({"vllm", words(), duration(), duration(), *rc::gen::arbitrary<bool>(),
                             duration(), serving, real(0, 1), Provenance::measured, words()});
  profile.storage.push_back({"disk", BytesPerSec(real(0, 10) * 1e9), BytesPerSec(1e9), duration(),
                             Provenance::measured, words()});
  profile.intra_node_latency = duration();
  return profile;
}

Plan any_plan() {
  Plan plan;
  plan.name = "x" + words();
  plan.model =
      find_model(*rc::gen::element<std::string>("Qwen/Qwen3-32B", "deepseek-ai/DeepSeek-R1"));
  plan.weights = Precision::fp8;
  plan.profile = any_profile();
  PoolSpec pool;
  pool.replicas = *rc::gen::inRange(1, 9);
  pool.layout.tensor = *rc::gen::element(1, 2, 4, 8);
  pool.config.kv_blocks = *rc::gen::inRange<std::int64_t>(1, 1'000'000);
  pool.config.max_model_len = *rc::gen::inRange<std::int64_t>(1, 1'000'000);
  pool.config.memory_utilization = real(0, 1) * 0.9 + 0.05;
  if (*rc::gen::arbitrary<bool>()) {
    pool.role = WorkerRole::prefill;
    plan.pools.push_back(pool);
    pool.role = WorkerRole::decode;
    plan.transfer = {BytesPerSec(real(0, 100) * 1e9 + 1), duration(), Bytes(131072)};
  } else if (*rc::gen::arbitrary<bool>()) {
    pool.engine.kind = EngineKind::openai;
    pool.engine.url.assign(static_cast<std::size_t>(pool.replicas), "http://127.0.0.1:8000/v1");
  }
  plan.pools.push_back(pool);
  plan.router.temperature = real(0, 2);
  plan.slo.ttft_p99 = duration() + Duration{1};
  plan.seed = *rc::gen::arbitrary<std::uint64_t>();
  plan.predicted.push_back(
      {"time_to_first_token.p99", "ms", {real(0, 9), 0, 9.5, Provenance::interpolated}});
  return plan;
}

TEST_CASE("A profile that is written reads back the same") {
  REQUIRE(rc::check("profiles", [] {
    const Profile profile = any_profile();
    const std::string text = to_json(profile);
    const Profile back = parse_profile(Document::parse(text, "p.json"));
    RC_ASSERT(to_json(back) == text);
    RC_ASSERT(back.name == profile.name);
    RC_ASSERT(back.description == profile.description);
    RC_ASSERT(back.device.memory == profile.device.memory);
    RC_ASSERT(back.device.memory_bandwidth == profile.device.memory_bandwidth);
    RC_ASSERT(back.device.peak == profile.device.peak);
    RC_ASSERT(back.device.sources == profile.device.sources);
    RC_ASSERT(back.operators.size() == profile.operators.size());
    for (std::size_t i = 0; i < back.operators.size(); ++i) {
      const OperatorFit& a = back.operators[i];
      const OperatorFit& b = profile.operators[i];
      RC_ASSERT(a.kind == b.kind && a.precision == b.precision && a.overhead == b.overhead);
      RC_ASSERT(a.compute_efficiency == b.compute_efficiency);
      RC_ASSERT(a.source == b.source);
      RC_ASSERT(a.correction.size() == b.correction.size());
      for (std::size_t k = 0; k < a.correction.size(); ++k) {
        RC_ASSERT(a.correction[k].x == b.correction[k].x);
        RC_ASSERT(a.correction[k].factor == b.correction[k].factor);
      }
    }
    RC_ASSERT(back.engines[0].step_base == profile.engines[0].step_base);
    RC_ASSERT(back.storage[0].read == profile.storage[0].read);
  }));
}

TEST_CASE("A plan that is written reads back the same") {
  REQUIRE(rc::check("plans", [] {
    const Plan plan = any_plan();
    const std::string text = to_json(plan);
    const Plan back = parse_plan(Document::parse(text, "p.json"));
    RC_ASSERT(to_json(back) == text);
    RC_ASSERT(back.model.parameters() == plan.model.parameters());
    RC_ASSERT(back.pools.size() == plan.pools.size());
    RC_ASSERT(back.pools[0].config == plan.pools[0].config);
    RC_ASSERT(back.pools[0].layout == plan.pools[0].layout);
    RC_ASSERT(back.pools[0].engine.url == plan.pools[0].engine.url);
    RC_ASSERT(back.router == plan.router);
    RC_ASSERT(back.slo == plan.slo);
    RC_ASSERT(back.seed == plan.seed);
    RC_ASSERT(back.predicted[0].estimate.value == plan.predicted[0].estimate.value);
    RC_ASSERT(back.gpus() == plan.gpus());
  }));
}

/// A plan's JSON with its pools replaced, and its errors' first lines.
Lines errors_with_pools(const std::string& pools, const std::string& rest = {}) {
  const std::string text =
      "schema: dyn.plan/1\nname: p\nweights: fp8\nkv_cache: bf16\n"
      "model: {name: m, layers: 2, hidden: 64, vocabulary: 100,\n"
      "        attention: {heads: 4, kv_heads: 2, head_dim: 16}}\n"
      "profile: {name: h, device: {id: h, memory: 1 GB, memory_bandwidth: 1 GB/s,\n"
      "          peak: {bf16: 1 TFLOP/s}}}\n"
      "pools: " +
      pools + "\n" + rest;
  Lines lines;
  try {
    parse_plan(Document::parse(text, "p.yaml"));
  } catch (const Error& error) {
    for (const ErrorItem& item : error.items()) {
      const std::string line = Error(error.kind(), {item}).what();
      lines.push_back(line.substr(0, line.find('\n')));
    }
  }
  return lines;
}

TEST_CASE("A model of both linear and sliding layers is an error that names it and says why") {
  const auto parse = [](const std::string& sliding) {
    const std::string text =
        "schema: dyn.plan/1\nname: p\nweights: fp8\nkv_cache: bf16\n"
        "model: {name: both, layers: 4, hidden: 64, vocabulary: 100,\n"
        "        attention: {heads: 4, kv_heads: 2, head_dim: 16" +
        sliding +
        "},\n        linear: {layers: 2, key_heads: 2, value_heads: 2, key_head_dim: 8,\n"
        "                 value_head_dim: 8, conv_kernel: 4}}\n"
        "profile: {name: h, device: {id: h, memory: 1 GB, memory_bandwidth: 1 GB/s,\n"
        "          peak: {bf16: 1 TFLOP/s}}}\n"
        "pools: [{role: aggregated, replicas: 1, config: {kv_blocks: 10, max_model_len: 100}}]\n";
    return parse_plan(Document::parse(text, "p.yaml"));
  };
  CHECK(parse("").model.linear);
  try {
    parse(", sliding_window: 64, sliding_layers: 1");
    FAIL("such a model was taken");
  } catch (const Error& error) {
    CHECK_THAT(error.what(), Catch::Matchers::Contains(
                                 "p.yaml:7:17: error: /model/linear: 'both' has both linear "
                                 "layers and layers with a sliding window"));
    CHECK_THAT(error.what(), Catch::Matchers::Contains("no engine runs such a model"));
  }
}

constexpr const char* kConfig = "config: {kv_blocks: 10, max_model_len: 100}";

TEST_CASE("A plan has one aggregated pool, or one prefill and one decode pool") {
  const std::string config = kConfig;
  CHECK(errors_with_pools("[{role: aggregated, replicas: 1, " + config + "}]").empty());
  CHECK(errors_with_pools("[{role: prefill, replicas: 1, " + config + "}]") ==
        Lines{"p.yaml:9:8: error: /pools: expected one aggregated pool, or one prefill and one "
              "decode pool; got prefill"});
  CHECK(errors_with_pools("[]").size() == 1);
  const std::string both =
      "[{role: prefill, replicas: 1, " + config + "}, {role: decode, replicas: 2, " + config + "}]";
  CHECK(errors_with_pools(both) ==
        Lines{"p.yaml:1:1: error: a disaggregated plan needs the bandwidth of the KV transfer "
              "(such as bandwidth: 50 GB/s)"});
  CHECK(errors_with_pools(both, "transfer: {bandwidth: 50 GB/s}\n").empty());
}

TEST_CASE("Prefill and decode pools are of one kind; real engines move the KV themselves") {
  const std::string real = "replicas: 1, engine: {kind: openai, url: [\"http://a:1\"]}}";
  CHECK(errors_with_pools("[{role: prefill, " + real + ", {role: decode, " + real + "]").empty());
  CHECK(errors_with_pools("[{role: prefill, " + real + ", {role: decode, replicas: 1, " +
                          std::string(kConfig) + "}]") ==
        Lines{"p.yaml:9:8: error: /pools: prefill and decode pools need engines of one kind (a "
              "simulated engine has no KV cache to hand over to a real one)"});
}

TEST_CASE("Engines and layouts of a plan are checked") {
  CHECK(errors_with_pools("[{role: aggregated, replicas: 1}]") ==
        Lines{"p.yaml:9:9: error: /pools/0: missing key 'kv_blocks' (a simulated engine needs the "
              "number of its KV blocks)",
              "p.yaml:9:9: error: /pools/0: missing key 'max_model_len' (a simulated engine needs "
              "the longest request that it takes, in tokens)"});
  CHECK(errors_with_pools("[{role: aggregated, replicas: 2, engine: {kind: openai, url: "
                          "[\"http://a:1\"]}}]") ==
        Lines{"p.yaml:9:49: error: /pools/0/engine: an openai engine needs one url per replica: 2 "
              "replicas, 1 urls (such as url: [\"http://127.0.0.1:8000\"])"});
  CHECK(errors_with_pools("[{role: aggregated, replicas: 1, engine: {kind: openai, url: "
                          "[\"a:1\"]}}]") ==
        Lines{"p.yaml:9:70: error: /pools/0/engine/url/0: expected a URL such as "
              "\"http://127.0.0.1:8000\", got \"a:1\""});
  CHECK(errors_with_pools("[{role: aggregated, replicas: 1, engine: {kind: openai, url: "
                          "[\"https://a\"]}}]") ==
        Lines{"p.yaml:9:70: error: /pools/0/engine/url/0: expected a URL such as "
              "\"http://127.0.0.1:8000\", got \"https://a\" (https is not supported here; put a "
              "proxy that speaks it before the engine)"});
  CHECK(errors_with_pools("[{role: aggregated, replicas: 1, engine: {url: [\"http://a:1\"]}, " +
                          std::string(kConfig) + "}]") ==
        Lines{"p.yaml:9:55: error: /pools/0/engine/url: a simulated engine has no url (write kind: "
              "openai)"});
  CHECK(errors_with_pools("[{role: aggregated, replicas: 1, layout: {tensor: 4, expert: 3}, " +
                          std::string(kConfig) + "}]") ==
        Lines{"p.yaml:9:69: error: /pools/0/layout/expert: expert must divide tensor * data (4)"});
  CHECK(errors_with_pools("[{role: aggregated, replicas: 1, layout: {pipeline: 4}, " +
                          std::string(kConfig) + "}]") ==
        Lines{"p.yaml:9:9: error: /pools/0: more pipeline stages than the model has layers"});
}

TEST_CASE("The points of a correction must rise, and its keys be known") {
  const std::string head =
      "schema: dyn.profile/1\nname: h\ndevice: {id: h, memory: 1 GB, memory_bandwidth: 1 GB/s,\n"
      "         peak: {bf17: 1 TFLOP/s, bf16: 989}}\noperators:\n";
  try {
    parse_profile(Document::parse(
        head + "  - {kind: gemm, correction: [{x: 2, factor: 1}, {x: 1, factor: 1}]}\n"
               "  - {kind: gem, correction: [{x: 0, factor: 1}]}\n",
        "h.yaml"));
    FAIL("no error");
  } catch (const Error& error) {
    Lines lines;
    for (const ErrorItem& item : error.items()) {
      const std::string line = Error(error.kind(), {item}).what();
      lines.push_back(line.substr(0, line.find('\n')));
    }
    CHECK(lines ==
          Lines{"h.yaml:4:17: error: /device/peak/bf17: unknown key 'bf17' (did you mean 'bf16'?)",
                "h.yaml:4:40: error: /device/peak/bf16: expected a compute rate such as \"989 "
                "TFLOP/s\", got \"989\" (add a unit: GFLOP/s, TFLOP/s or PFLOP/s)",
                "h.yaml:6:50: error: /operators/0/correction/1: x must rise from point to point: 1 "
                "follows 2",
                "h.yaml:7:12: error: /operators/1/kind: expected one of gemm, attention_prefill, "
                "attention_decode, moe, moe_dispatched, elementwise, all_reduce, all_gather, "
                "reduce_scatter, all_to_all, send_recv, sampling, latent_prefill, latent_decode, "
                "sparse_prefill, "
                "sparse_decode, linear_prefill, linear_decode, attention_mixed; "
                "got \"gem\" (did you mean 'gemm'?)",
                "h.yaml:7:34: error: /operators/1/correction/0/x: expected a number above 0, got "
                "\"0\""});
  }
}

TEST_CASE("A report within another file reads back the same") {
  Report report;
  report.fingerprint = 0xfedcba9876543210;
  Metric metric;
  metric.tag = "time_to_first_token";
  metric.header = "Time to First Token";
  metric.unit = "ms";
  metric.avg = 1.25;
  metric.count = 3;
  metric.p99 = 2.5;
  metric.interval = Estimate{1.25, 1, 2, Provenance::interpolated};
  report.metrics.push_back(metric);
  const std::string text = write_document(report_schema(), &report);
  const Document document = Document::parse(text, "r.json");
  Report back;
  read_document(report_schema(), document, &back);
  CHECK(back.fingerprint == report.fingerprint);
  REQUIRE(back.metrics.size() == 1);
  CHECK(back.metrics[0].tag == metric.tag);
  CHECK(back.metrics[0].header == metric.header);
  CHECK(back.metrics[0].p99 == 2.5);
  CHECK(back.metrics[0].interval->low == 1);
  CHECK(write_document(report_schema(), &back) == text);
  CHECK(parse_report(document).metrics[0].avg == 1.25);  // the tolerant reader takes it too
  Report strict;
  read_document(report_schema(), Document::parse(to_json(report), "r.json"), &strict);
  CHECK(strict.metrics[0].p99 == 2.5);
}

TEST_CASE("A number that is not finite is never written") {
  Profile profile;
  profile.engines.emplace_back().relative_error = std::nan("");
  CHECK_THROWS_AS(to_json(profile), Error);
}

TEST_CASE("Enumerators and their texts are the same set") {
  CHECK(enum_text(Precision::fp8_block) == "fp8_block");
  CHECK(enum_from_text<RouterKind>("kv_aware") == RouterKind::kv_aware);
  CHECK_FALSE(enum_from_text<RouterKind>("kv").has_value());
  CHECK(enum_text(RequestStatus::unfinished) == "unfinished");
}

TEST_CASE("a plan keeps every model of the catalogue as it is") {
  for (const std::string& name : model_names()) {
    INFO(name);
    Plan plan;
    plan.name = "round trip";
    plan.model = find_model(name);
    PoolSpec pool;
    pool.engine.kind = EngineKind::openai;
    pool.engine.url = {"http://127.0.0.1:8000"};
    plan.pools = {pool};
    const Plan back = parse_plan(Document::parse(to_json(plan), "plan.json"));
    CHECK(back.model == plan.model);
  }
}

}  // namespace
}  // namespace dyn
