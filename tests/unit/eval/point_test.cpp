#include "dyn/eval/point.h"

#include <catch2/catch.hpp>

#include "dyn/core/error.h"
#include "dyn/perf/builtin_profiles.h"
#include "tables.h"

namespace dyn::eval {
namespace {

const PointPredictor& predictor() {
  static const PointPredictor one(perf::builtin_profile);
  return one;
}

PointPrediction predict(int concurrency) {
  return predictor().predict(test::table(test::row("a", concurrency)).rows.front());
}

TEST_CASE("more requests in flight wait longer and decode slower") {
  const PointPrediction one = predict(1);
  const PointPrediction eight = predict(8);
  const PointPrediction many = predict(64);
  CHECK(one.ttft_ms < eight.ttft_ms);
  CHECK(eight.ttft_ms < many.ttft_ms);
  CHECK(one.tpot_ms < eight.tpot_ms);
  CHECK(eight.tpot_ms < many.tpot_ms);
  // All slots are released at once: the last of the burst waits for all the others.
  CHECK(many.features.burst_ttft_ms > 3 * many.features.steady_ttft_ms);
}

TEST_CASE("one request at a time is a prefill and then decode steps") {
  const PointPrediction one = predict(1);
  const PointFeatures& f = one.features;
  CHECK(f.prefill_steps == 10);
  CHECK(f.decode_sequences == Approx(1).epsilon(0.2));
  CHECK(f.decode.total() == Approx(one.tpot_ms).epsilon(0.02));
  CHECK(f.prefill.total() == Approx(f.mixed_step_ms).epsilon(0.05));
  CHECK(f.chunk_tokens > 0.8 * 1024);
  CHECK(f.chunk_tokens <= 1024);
  CHECK(f.queue_ms < one.ttft_ms);
  CHECK(f.decode.collective == 0);
  CHECK(f.decode.gemm > 0);
  CHECK(f.decode.host > 0);
}

TEST_CASE("equal rows have equal predictions") {
  const PointPrediction a = predict(16);
  const PointPrediction b =
      PointPredictor(perf::builtin_profile).predict(test::table(test::row("b", 16)).rows.front());
  CHECK(a.ttft_ms == b.ttft_ms);
  CHECK(a.tpot_ms == b.tpot_ms);
}

TEST_CASE("a prefill worker and a decode worker share the work") {
  const MeasuredTable table = parse_measured(
      "id,backend,backend_version,model_path,system,mode,isl,osl,gemm_quant_mode,prefill_tp_size,"
      "prefill_num_workers,decode_tp_size,decode_num_workers,decode_batch_size,concurrency\n"
      "d,vllm,,Llama-3.1-8B-Instruct,h100_sxm,disagg,1024,128,,1,1,1,1,16,16\n",
      "t.csv");
  const PointPrediction apart = predictor().predict(table.rows.front());
  CHECK(apart.features.transfer_ms > 0);
  // Decoding is not interrupted by prompts.
  CHECK(apart.tpot_ms < predict(16).tpot_ms);
}

TEST_CASE("a layout that no model has is answered by a near one, and says so") {
  MeasuredRow row = test::table(test::row("a", 64)).rows.front();
  row.aggregated.layout.tensor = 3;
  const PointPrediction near = predictor().predict(row);
  CHECK(near.features.layout_changed);
  CHECK(near.provenance >= Provenance::extrapolated);
}

TEST_CASE("what cannot be answered is refused") {
  MeasuredRow row = test::table(test::row("a", 64)).rows.front();
  row.model = "nobody/nothing";
  CHECK_THROWS_AS(predictor().predict(row), Error);
  row = test::table(test::row("a", 64)).rows.front();
  row.concurrency = 0;
  row.aggregated.batch = 0;
  CHECK_THROWS_AS(predictor().predict(row), Error);
}

}  // namespace
}  // namespace dyn::eval
