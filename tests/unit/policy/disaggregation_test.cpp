#include "dyn/policy/disaggregation.h"

#include <catch2/catch.hpp>

namespace dyn::policy {
namespace {

TEST_CASE("by default no prompt is computed by a decode worker") {
  CHECK_FALSE(DisaggregationSpec{}.ever_local());
  CHECK_FALSE(prefill_locally({}, {1, 0, 1'000'000}));
}

TEST_CASE("short, mostly cached or waiting prompts are computed where they are decoded") {
  DisaggregationSpec spec;
  spec.local_prefill = Tokens(256);
  CHECK(prefill_locally(spec, {256, 0, 0}));
  CHECK_FALSE(prefill_locally(spec, {257, 0, 0}));
  CHECK(prefill_locally(spec, {4000, 3744, 0}));
  CHECK(prefill_locally(spec, {1, 1, 0}));
  spec = {};
  spec.local_cached_share = 0.75;
  CHECK(prefill_locally(spec, {4000, 3000, 0}));
  CHECK_FALSE(prefill_locally(spec, {4000, 2999, 0}));
  spec = {};
  spec.local_above_queued = 3;
  CHECK(prefill_locally(spec, {4000, 0, 3}));
  CHECK_FALSE(prefill_locally(spec, {4000, 0, 2}));
}

}  // namespace
}  // namespace dyn::policy
