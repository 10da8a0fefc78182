#include "dyn/core/report.h"

#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <numeric>
#include <sstream>

#include "dyn/core/document.h"
#include "dyn/core/error.h"
#include "dyn/core/random.h"
#include "dyn/core/request_export.h"

using dyn::Metric;
using dyn::Report;
using dyn::RequestRecord;
using dyn::RequestStatus;
using dyn::SimTime;
using namespace std::chrono_literals;

namespace {

SimTime at(dyn::Duration d) {
  return SimTime(d);
}

RequestRecord request(dyn::Duration sent, dyn::Duration ttft, dyn::Duration e2e,
                      std::int64_t output) {
  RequestRecord record;
  record.sent = at(sent);
  record.first_scheduled = at(sent + ttft / 4);
  record.first_token = at(sent + ttft);
  record.finished = at(sent + e2e);
  if (output >= 2) {
    record.second_token = at(sent + ttft + (e2e - ttft) / (output - 1));
  }
  record.input_tokens = 100;
  record.output_tokens = output;
  record.cached_tokens = 25;
  return record;
}

std::vector<RequestRecord> random_records(std::uint64_t seed, int count) {
  dyn::RandomStream random(seed, "records");
  std::vector<RequestRecord> records;
  dyn::Duration sent{0};
  for (int i = 0; i < count; ++i) {
    sent += dyn::from_seconds(random.exponential(0.05));
    const auto ttft = dyn::from_seconds(random.gamma(2.0, 0.1));
    const auto output = static_cast<std::int64_t>(1 + random.below(300));
    const auto decode = dyn::from_seconds(random.uniform() * 0.02 * static_cast<double>(output));
    records.push_back(request(sent, ttft, ttft + decode, output));
    records.back().id = static_cast<std::uint64_t>(i);
    if (random.below(20) == 0) {
      records.back().status = RequestStatus::failed;
    }
  }
  return records;
}

double avg(const Report& report, const char* tag) {
  const Metric* metric = report.find(tag);
  REQUIRE(metric != nullptr);
  return metric->avg;
}

}  // namespace

TEST_CASE("two requests give AIPerf's figures") {
  std::vector<RequestRecord> records = {request(0s, 100ms, 1100ms, 11),
                                        request(1s, 300ms, 1000ms, 8)};
  dyn::ReportOptions options;
  options.gpus = 2;
  options.price_per_gpu = dyn::DollarsPerHour(3.6);
  const Report report = dyn::make_report(records, options);
  const Metric& ttft = *report.find("time_to_first_token");
  CHECK(ttft.header == "Time to First Token");
  CHECK(ttft.unit == "ms");
  CHECK(ttft.count == 2);
  CHECK(ttft.avg == 200);
  CHECK(ttft.min == 100);
  CHECK(ttft.max == 300);
  CHECK(ttft.sum == 400);
  CHECK(ttft.p50 == 200);
  CHECK(ttft.p25 == 150);
  CHECK(ttft.p99 == Approx(298));
  CHECK(ttft.std == 100);  // of the population
  const Metric& itl = *report.find("inter_token_latency");
  CHECK(itl.min == 100);
  CHECK(itl.max == 100);
  CHECK(avg(report, "time_to_second_token") == 100);
  CHECK(avg(report, "output_token_throughput_per_user") == 10);
  CHECK(avg(report, "request_latency") == 1050);
  CHECK(avg(report, "benchmark_duration") == 2);
  CHECK(avg(report, "output_token_throughput") == 9.5);
  CHECK(avg(report, "request_throughput") == 1);
  CHECK(avg(report, "request_count") == 2);
  CHECK(avg(report, "error_request_count") == 0);
  CHECK(avg(report, "total_isl") == 200);
  CHECK(avg(report, "total_osl") == 19);
  CHECK(avg(report, "queue_time") == 50);
  CHECK(avg(report, "prefix_cache_hit_rate") == 0.25);
  CHECK(avg(report, "output_token_throughput_per_gpu") == 4.75);
  // 2 GPUs * 3.6 $/h * 2 s = 0.004 $ for 19 tokens.
  CHECK(avg(report, "cost_per_million_output_tokens") == Approx(0.004 / 19e-6));
  CHECK(report.find("goodput") == nullptr);
  CHECK(report.find("kv_transfer_time") == nullptr);
  CHECK(report.find("inter_chunk_latency") == nullptr);
}

TEST_CASE("only completed requests count towards latencies, the others are errors") {
  std::vector<RequestRecord> records = {request(0s, 100ms, 1s, 5), request(0s, 9s, 99s, 5)};
  for (const RequestStatus status : {RequestStatus::rejected, RequestStatus::failed,
                                     RequestStatus::cancelled, RequestStatus::unfinished}) {
    records[1].status = status;
    records[1].preemptions = 3;
    const Report report = dyn::make_report(records, {});
    CHECK(report.find("time_to_first_token")->max == 100);
    CHECK(avg(report, "benchmark_duration") == 1);
    CHECK(avg(report, "error_request_count") == 1);
    CHECK(avg(report, "request_count") == 1);
    CHECK(avg(report, "preemptions") == 3);
  }
}

TEST_CASE("a single output token has a first-token time but no inter-token latency") {
  const std::vector<RequestRecord> records = {request(0s, 100ms, 100ms, 1)};
  const Report report = dyn::make_report(records, {});
  CHECK(report.find("inter_token_latency") == nullptr);
  CHECK(report.find("time_to_second_token") == nullptr);
  CHECK(report.find("time_to_first_token")->count == 1);
  CHECK(report.find("time_to_first_token")->p99 == 100);
}

TEST_CASE("a run without requests has a report") {
  const Report report = dyn::make_report({}, {});
  CHECK(avg(report, "request_count") == 0);
  CHECK(avg(report, "request_throughput") == 0);
  CHECK(report.find("time_to_first_token") == nullptr);
  CHECK_FALSE(dyn::to_json(report).empty());
  CHECK(dyn::to_csv(report).starts_with("Metric,Value\r\n"));
}

TEST_CASE("goodput counts the requests that meet every target on their own") {
  const std::vector<RequestRecord> records = {
      request(0s, 100ms, 1100ms, 11),  // ITL 100 ms
      request(0s, 300ms, 1300ms, 11),  // late first token
      request(0s, 100ms, 2000ms, 11),  // slow tokens
      request(0s, 100ms, 100ms, 1),    // no ITL, so it does not meet a target on it
  };
  dyn::ReportOptions options;
  options.slo.ttft_p99 = 200ms;
  CHECK(avg(dyn::make_report(records, options), "good_request_count") == 3);
  options.slo.itl_p50 = 100ms;
  const Report report = dyn::make_report(records, options);
  CHECK(avg(report, "good_request_count") == 1);
  CHECK(avg(report, "goodput") == 0.5);
  options.slo.ttft_mean = 50ms;  // the tightest target on a metric holds
  CHECK(avg(dyn::make_report(records, options), "good_request_count") == 0);
}

TEST_CASE("a transfer time is that of requests which were prefilled elsewhere") {
  std::vector<RequestRecord> records = {request(0s, 100ms, 1s, 5), request(0s, 100ms, 1s, 5)};
  records[0].prefill_worker = 0;
  records[0].transfer = 7ms;
  const Report report = dyn::make_report(records, {});
  CHECK(report.find("kv_transfer_time")->count == 1);
  CHECK(avg(report, "kv_transfer_time") == 7);
}

TEST_CASE("percentiles of counted gaps are those of the gaps one by one") {
  REQUIRE(rc::check("gaps", [](std::uint64_t seed) {
    dyn::RandomStream random(seed, "gaps");
    std::vector<dyn::GapCount> gaps;
    std::vector<double> each;
    for (std::uint64_t i = 0; i <= random.below(20); ++i) {
      const dyn::GapCount gap{dyn::Duration(1'000'000 + random.below(50) * 100'000),
                              static_cast<std::int64_t>(random.below(30))};
      gaps.push_back(gap);
      each.insert(each.end(), static_cast<std::size_t>(gap.count), dyn::to_millis(gap.gap));
    }
    dyn::ReportOptions options;
    options.gaps = gaps;
    const Report report = dyn::make_report({}, options);
    const Metric* metric = report.find("inter_chunk_latency");
    RC_ASSERT((metric != nullptr) == !each.empty());
    if (metric == nullptr) {
      return;
    }
    std::sort(each.begin(), each.end());
    RC_ASSERT(metric->count == static_cast<std::int64_t>(each.size()));
    const auto near = [](double a, double b) { return std::fabs(a - b) <= 1e-9 * (1 + b); };
    RC_ASSERT(near(metric->min, each.front()));
    RC_ASSERT(near(metric->max, each.back()));
    RC_ASSERT(near(metric->sum, std::accumulate(each.begin(), each.end(), 0.0)));
    const double position = 0.9 * static_cast<double>(each.size() - 1);
    const auto low = static_cast<std::size_t>(position);
    const std::size_t high = std::min(low + 1, each.size() - 1);
    const double p90 = each[low] + (position - static_cast<double>(low)) * (each[high] - each[low]);
    RC_ASSERT(near(metric->p90, p90));
  }));
}

TEST_CASE("statistics of many values agree with a plain computation") {
  // Above and below the size from which sorting is by radix.
  for (const int count : {1, 2, 3, 100, 5000}) {
    INFO(count);
    const auto records = random_records(99, count);
    std::vector<double> ttft;
    for (const RequestRecord& record : records) {
      if (record.status == RequestStatus::completed) {
        ttft.push_back(dyn::to_millis(record.first_token - record.sent));
      }
    }
    std::sort(ttft.begin(), ttft.end());
    const Metric metric = *dyn::make_report(records, {}).find("time_to_first_token");
    const double mean =
        std::accumulate(ttft.begin(), ttft.end(), 0.0) / static_cast<double>(ttft.size());
    double squares = 0;
    for (const double x : ttft) {
      squares += (x - mean) * (x - mean);
    }
    CHECK(metric.avg == Approx(mean));
    CHECK(metric.std == Approx(std::sqrt(squares / static_cast<double>(ttft.size()))));
    CHECK(metric.min == Approx(ttft.front()));
    CHECK(metric.max == Approx(ttft.back()));
    const double position = 0.95 * static_cast<double>(ttft.size() - 1);
    const auto low = static_cast<std::size_t>(position);
    const std::size_t high = std::min(low + 1, ttft.size() - 1);
    CHECK(metric.p95 ==
          Approx(ttft[low] + (position - static_cast<double>(low)) * (ttft[high] - ttft[low])));
  }
}

TEST_CASE("a report does not depend on the order of the records") {
  for (const int count : {50, 4000}) {
    auto records = random_records(5, count);
    dyn::ReportOptions options;
    options.slo.ttft_p99 = 300ms;
    const std::string json = dyn::to_json(dyn::make_report(records, options));
    std::reverse(records.begin(), records.end());
    CHECK(dyn::to_json(dyn::make_report(records, options)) == json);
    std::rotate(records.begin(), records.begin() + count / 3, records.end());
    CHECK(dyn::to_json(dyn::make_report(records, options)) == json);
  }
}

TEST_CASE("a report that is written, read and written again is the same text") {
  REQUIRE(rc::check("round trip", [](std::uint64_t seed) {
    dyn::ReportOptions options;
    const std::vector<dyn::GapCount> gaps = {{3ms, 5}, {7ms, 2}};
    options.gaps = gaps;
    options.gpus = 8;
    Report report = dyn::make_report(random_records(seed, 40), options);
    report.fingerprint = seed;
    report.metrics[0].interval = dyn::Estimate{1.5, 1.0, 2.25, dyn::Provenance::interpolated};
    const std::string text = dyn::to_json(report);
    const Report back = dyn::parse_report(dyn::Document::parse(text, "report.json"));
    RC_ASSERT(dyn::to_json(back) == text);
    RC_ASSERT(dyn::to_csv(back) == dyn::to_csv(report));
    RC_ASSERT(back.fingerprint == seed);
    RC_ASSERT(back.metrics.size() == report.metrics.size());
  }));
}

TEST_CASE("the JSON has AIPerf's layout") {
  const std::vector<RequestRecord> records = {request(0s, 100ms, 1100ms, 11)};
  Report report = dyn::make_report(records, {});
  report.metrics.resize(1);
  report.fingerprint = 0xabc;
  const std::string text = dyn::to_json(report);
  CHECK_THAT(text, Catch::StartsWith("{\n  \"schema\": \"dyn.report/1\",\n"
                                     "  \"schema_version\": \"1.4\",\n"));
  CHECK_THAT(text, Catch::EndsWith(R"(  "fingerprint": "0000000000000abc",
  "time_to_first_token": {
    "unit": "ms",
    "avg": 100.0,
    "min": 100.0,
    "max": 100.0,
    "sum": 100.0,
    "p1": 100.0,
    "p5": 100.0,
    "p10": 100.0,
    "p25": 100.0,
    "p50": 100.0,
    "p75": 100.0,
    "p90": 100.0,
    "p95": 100.0,
    "p99": 100.0,
    "std": 0.0,
    "count": 1
  }
}
)"));
}

TEST_CASE("AIPerf's own export is read as a report") {
  const char* text = R"({
    "schema_version": "1.4", "aiperf_version": "0.13.0",
    "request_throughput": {"unit": "requests/sec", "avg": 12.5},
    "request_latency": {"unit": "ms", "avg": 20.0, "p1": 10, "p50": 19.5, "p99": 30.25,
                        "min": 10, "max": 31, "std": 2.5, "count": 200, "sum": 4000},
    "telemetry_data": null,
    "input_config": {"endpoint": {"url": "http://localhost"}}, "was_cancelled": false,
    "error_summary": []})";
  const Report report = dyn::parse_report(dyn::Document::parse(text, "aiperf.json"));
  REQUIRE(report.metrics.size() == 2);
  CHECK(report.find("request_throughput")->avg == 12.5);
  CHECK_FALSE(report.find("request_throughput")->statistic("p50").has_value());
  const Metric& latency = *report.find("request_latency");
  CHECK(latency.header == "Request Latency");
  CHECK(latency.count == 200);
  CHECK(latency.statistic("p50") == 19.5);
  CHECK(latency.statistic("std") == 2.5);
  CHECK(latency.statistic("avg") == 20.0);
  CHECK_FALSE(latency.statistic("p42").has_value());
}

TEST_CASE("what is no report is an error that says where and why") {
  const auto parse = [](const char* text) {
    return dyn::parse_report(dyn::Document::parse(text, "report.json"));
  };
  CHECK_THROWS_WITH(parse("{}"), Catch::Contains("no metrics"));
  CHECK_THROWS_WITH(parse("[]"), Catch::Contains("no metrics"));
  CHECK_THROWS_WITH(parse(R"({"schema": "dyn.plan/1"})"), Catch::Contains("dyn.report/1"));
  CHECK_THROWS_WITH(parse("{\n \"goodput\": {\"unit\": \"x\", \"avg\": \"much\"}}"),
                    Catch::Contains("report.json:2:") && Catch::Contains("/goodput/avg"));
  CHECK_THROWS_WITH(parse(R"({"fingerprint": "xyz", "a": {"unit": "x", "avg": 1}})"),
                    Catch::Contains("hexadecimal"));
  CHECK_THROWS_WITH(parse(R"({"a": {"unit": "x", "avg": 1, "interval": {"value": 1, "low": 0,
                              "high": 2, "provenance": "guessed"}}})"),
                    Catch::Contains("provenance"));
}

TEST_CASE("the CSV has AIPerf's two sections, sorted by tag") {
  const std::vector<RequestRecord> records = {request(0s, 100ms, 1100ms, 11)};
  const std::string csv = dyn::to_csv(dyn::make_report(records, {}));
  CHECK_THAT(csv,
             Catch::StartsWith("Metric,avg,min,max,sum,p1,p5,p10,p25,p50,p75,p90,p95,p99,std\r\n"
                               "Input Sequence Length (tokens),100.00,"));
  CHECK_THAT(csv, Catch::Contains("\r\n\r\nMetric,Value\r\nBenchmark Duration (sec),1.10\r\n"));
  CHECK_THAT(csv, Catch::Contains("\r\nRequest Count,1.00\r\n"));
}

TEST_CASE("a mix is reported whole and class by class, by the targets of each") {
  std::vector<RequestRecord> records{request(0ms, 100ms, 200ms, 2), request(0ms, 300ms, 500ms, 2),
                                     request(0ms, 300ms, 600ms, 2)};
  records[1].request_class = records[2].request_class = 1;
  records[2].warmup = true;
  dyn::Slo chat;
  chat.ttft_p99 = 150ms;
  const std::vector<dyn::ReportClass> classes{{"chat", chat}, {"batch", {}}};
  dyn::ReportOptions options;
  options.classes = classes;
  const Report report = dyn::make_report(records, options);
  CHECK(avg(report, "request_count") == 2);  // the warm-up does not count
  CHECK(avg(report, "good_request_count") == 2);
  REQUIRE(report.classes.size() == 2);
  const auto of_class = [&](std::size_t i, const std::string& tag) {
    const auto& metrics = report.classes[i].metrics;
    const auto found = std::find_if(metrics.begin(), metrics.end(),
                                    [&](const Metric& metric) { return metric.tag == tag; });
    return found == metrics.end() ? -1.0 : found->avg;
  };
  CHECK(of_class(0, "time_to_first_token") == 100);
  CHECK(of_class(1, "time_to_first_token") == 300);
  CHECK(of_class(0, "good_request_count") == 1);
  CHECK(of_class(1, "good_request_count") == -1);  // it has no target
  CHECK(of_class(1, "request_count") == 1);
  const Report read = dyn::parse_report(dyn::Document::parse(dyn::to_json(report), "r.json"));
  CHECK(dyn::to_json(read) == dyn::to_json(report));
}

TEST_CASE("what tokens cost is as uncertain as how many come out") {
  dyn::ReportOptions options;
  Report report = dyn::make_report(
      std::vector<RequestRecord>{request(0ms, 100ms, 1100ms, 101), request(0ms, 100ms, 1100ms, 51)},
      options);
  const auto rate =
      std::find_if(report.metrics.begin(), report.metrics.end(),
                   [](const Metric& metric) { return metric.tag == "output_token_throughput"; });
  REQUIRE(rate != report.metrics.end());
  rate->interval = dyn::Estimate{rate->avg, rate->avg / 2, rate->avg * 4, {}};
  dyn::add_costs(report, 2, dyn::DollarsPerHour(3));
  for (const char* tag : {"cost_per_million_output_tokens", "cost_per_million_tokens"}) {
    const Metric* cost = report.find(tag);
    REQUIRE(cost != nullptr);
    REQUIRE(cost->interval);
    CHECK(cost->interval->low == Approx(cost->avg / 4));
    CHECK(cost->interval->high == Approx(cost->avg * 2));
  }
}

TEST_CASE("the per-request export gives times to the nanosecond") {
  for (const std::int64_t nanos : {0LL, 1LL, 999'999LL, 1'000'000LL, 123'456'789LL,
                                   3'600'000'000'001LL, 86'400'000'000'000'000LL}) {
    const RequestRecord record =
        request(0ms, std::chrono::nanoseconds(nanos), std::chrono::nanoseconds(nanos), 1);
    const std::string whole = std::to_string(nanos / 1'000'000);
    const std::string decimals = std::to_string(1'000'000 + nanos % 1'000'000).substr(1);
    CHECK_THAT(dyn::to_request_export(std::vector<RequestRecord>(1, record)),
               Catch::Contains("\"time_to_first_token\":{\"value\":" + whole + '.' + decimals +
                               ",\"unit\":\"ms\"}"));
  }
}

TEST_CASE("the per-request export gives the mean gap to the nearest nanosecond") {
  const auto gap = [](std::chrono::nanoseconds between, std::int64_t tokens) {
    const RequestRecord record = request(0ms, 1ms, 1ms + between, tokens);
    const std::string line = dyn::to_request_export(std::vector<RequestRecord>(1, record));
    const std::string key = "\"inter_token_latency\":{\"value\":";
    const std::size_t at = line.find(key);
    const std::size_t from = at + key.size();
    return at == std::string::npos ? "none" : line.substr(from, line.find(',', from) - from);
  };
  CHECK(gap(1'000'000ns, 2) == "1.000000");
  CHECK(gap(10ns, 4) == "0.000003");
  CHECK(gap(11ns, 4) == "0.000004");
  CHECK(gap(1'000'001ns, 3) == "0.500001");  // half a nanosecond is rounded up
  CHECK(gap(0ns, 1) == "none");
}

TEST_CASE("the per-request export does not depend on the threads that make it") {
  for (const std::uint32_t sessions : {7U, 5000U}) {
    std::vector<RequestRecord> records;
    for (std::uint32_t i = 0; i < 3000; ++i) {
      records.push_back(request(std::chrono::milliseconds(i), 100ms, 200ms + i * 1us, 1 + i % 5));
      records.back().id = i;
      records.back().session = i % sessions;
    }
    const std::string whole = dyn::to_request_export(records);
    CHECK(std::count(whole.begin(), whole.end(), '\n') == 3000);
    CHECK((whole.find("\"turn_index\":428,") != std::string::npos) == (sessions == 7));
    for (const int threads : {2, 3, 8}) {
      std::string text;
      dyn::write_request_export(
          records, [&](std::string_view piece) { text += piece; }, threads);
      CHECK(text == whole);
    }
  }
}

TEST_CASE("the per-request export has AIPerf's fields, turn by turn") {
  std::vector<RequestRecord> records{request(1ms, 100ms, 200ms, 2), request(2ms, 100ms, 200ms, 1),
                                     request(300ms, 100ms, 200ms, 2)};
  records[2].id = 2;
  records[1].status = RequestStatus::rejected;
  records[1].session = 1;
  records[2].tier_tokens = {16, 0, 0};
  records[2].warmup = true;
  std::istringstream lines(dyn::to_request_export(records));
  std::vector<std::string> text;
  for (std::string line; std::getline(lines, line);) {
    text.push_back(line);
    CHECK_NOTHROW(dyn::Document::parse(line, "line"));
  }
  REQUIRE(text.size() == 3);
  for (const char* field : {"session_num", "x_request_id", "x_correlation_id", "conversation_id",
                            "turn_index", "request_start_ns", "request_end_ns", "worker_id",
                            "record_processor_id", "benchmark_phase", "was_cancelled"}) {
    for (const std::string& line : text) {
      CHECK_THAT(line, Catch::Contains('"' + std::string(field) + "\":"));
    }
  }
  CHECK_THAT(text[0], Catch::Contains("\"request_start_ns\":1000000,\"request_end_ns\":201000000"));
  CHECK_THAT(text[0],
             Catch::Contains("\"inter_token_latency\":{\"value\":100.000000,\"unit\":\"ms\"}"));
  CHECK_THAT(text[0], Catch::EndsWith("\"error\":null}"));
  CHECK_THAT(text[1], Catch::Contains("\"code\":429"));
  CHECK_THAT(text[2], Catch::Contains("\"turn_index\":1"));
  CHECK_THAT(text[2], Catch::Contains("\"benchmark_phase\":\"warmup\""));
  CHECK_THAT(text[2], Catch::Contains("\"host_cached_tokens\":{\"value\":16"));
}
