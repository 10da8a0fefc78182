#include "dyn/perf/given_timing.h"

#include <catch2/catch.hpp>

namespace dyn::perf {
namespace {

StepTiming of_kind(TimingKind kind) {
  StepTiming timing;
  timing.kind = kind;
  return timing;
}

StepBatch prefill(std::int64_t tokens, std::int64_t prior, bool completes) {
  StepBatch batch;
  batch.add_prefill(tokens, prior, completes);
  return batch;
}

TEST_CASE("the polynomial of prompt tokens is the prefill part alone, even where a prompt ends") {
  const auto timer = given_timing(of_kind(TimingKind::polynomial), 1000);
  // 16.50142 + 0.01518344 * 100 + 4.209989e-7 * 100^2
  CHECK(timer->step_time(prefill(100, 50, false)) == Duration(18'023'974));
  CHECK(timer->step_time(prefill(100, 50, true)) == Duration(18'023'974));
}

TEST_CASE("a mixed step is the sum of both parts") {
  const auto timer = given_timing(of_kind(TimingKind::polynomial), 1000);
  StepBatch batch = prefill(100, 50, true);
  batch.add_decode(150);
  // u = 0.15: 5.74 + 54.01 * 0.15 - 25.74 * 0.15^2 = 13.26235
  CHECK(timer->step_time(batch) == Duration(18'023'974 + 13'262'350));
}

TEST_CASE("a prompt's last token alone is prefill too") {
  const auto timer = given_timing(of_kind(TimingKind::polynomial), 1000);
  StepBatch decode;
  decode.add_decode(150);
  StepBatch last;
  last.add_last_token(150);
  CHECK(timer->step_time(decode) == Duration(13'262'350));
  CHECK(timer->step_time(last) == Duration(16'516'604));
}

TEST_CASE("the share of the cache is at most 1 and the decode part at least its floor") {
  StepTiming timing = of_kind(TimingKind::polynomial);
  StepBatch batch;
  batch.add_decode(5000);
  CHECK(given_timing(timing, 1000)->step_time(batch) == Duration(34'010'000));
  timing.decode_ms = {0, 0, 0};
  CHECK(given_timing(timing, 1000)->step_time(batch) == std::chrono::milliseconds(1));
}

TEST_CASE("constant times add up in a mixed step") {
  const auto timer = given_timing(of_kind(TimingKind::constant), 1000);
  StepBatch batch = prefill(100, 0, false);
  CHECK(timer->step_time(batch) == std::chrono::milliseconds(20));
  batch.add_decode(10);
  CHECK(timer->step_time(batch) == std::chrono::milliseconds(30));
}

}  // namespace
}  // namespace dyn::perf
