#include "descriptor.h"

#include <algorithm>

#include "dyn/core/check.h"
#include "dyn/core/describe.h"
#include "dyn/core/math.h"
#include "dyn/core/schemas.h"
#include "serving.h"

namespace dyn::eval {
namespace {

double log2_of(double x) {
  return portable_log2(std::max(x, 1e-3));
}

std::string setting_of(const MeasuredRow& row) {
  return std::string(row.other_client() ? "other " : "InferenceX ") + row.mode();
}

}  // namespace

const std::array<const char*, Descriptor::kNames> kDescriptorNames{
    "engine", "system", "version", "model", "precision", "setting"};
const std::array<const char*, Descriptor::kNumbers> kDescriptorNumbers{"batch",
                                                                       "isl",
                                                                       "osl",
                                                                       "gpus",
                                                                       "tensor",
                                                                       "data",
                                                                       "expert",
                                                                       "prefill_tp",
                                                                       "prefill_dp",
                                                                       "gemm_share",
                                                                       "attention_share",
                                                                       "expert_share",
                                                                       "collective_share",
                                                                       "host_share",
                                                                       "decode_ms",
                                                                       "prefill_ms",
                                                                       "kv_pressure",
                                                                       "queue_share",
                                                                       "chunk",
                                                                       "ttft",
                                                                       "tpot"};

Descriptor describe_point(const EvaluatedRow& row) {
  DYN_ASSERT(row.raw.has_value(), "a row without a prediction");
  const MeasuredRow& r = row.row;
  const PointFeatures& f = row.raw->features;
  const MeasuredWorkers& main = r.disaggregated ? r.decode : r.aggregated;
  const double decode = std::max(f.decode.total(), 1e-6);
  const auto share = [decode](double part) { return 4 * part / decode; };
  Descriptor d;
  const std::string& model = row.raw->shape.empty() ? r.model : row.raw->shape;
  d.names = {r.engine, r.system,          r.engine + ' ' + engine_version(r),
             model,    enum_text(r.gemm), setting_of(r)};
  d.numbers = {log2_of(main.batch),
               log2_of(r.isl),
               log2_of(r.osl),
               log2_of(r.gpus),
               log2_of(main.layout.tensor),
               log2_of(main.layout.data),
               log2_of(main.layout.expert),
               log2_of(r.prefill.layout.tensor),
               log2_of(r.prefill.layout.data),
               share(f.decode.gemm),
               share(f.decode.attention),
               share(f.decode.experts),
               share(f.decode.collective),
               share(f.decode.host),
               log2_of(f.decode.total()),
               log2_of(f.prefill.total()),
               std::clamp(log2_of(f.kv_pressure), -3.0, 3.0),
               4 * f.queue_ms / (row.raw->ttft_ms + 1),
               log2_of(f.chunk_tokens),
               log2_of(row.raw->ttft_ms),
               log2_of(row.raw->tpot_ms)};
  const auto of_ttft = [&](double ms) { return std::min(1.0, ms / row.raw->ttft_ms); };
  const auto of_tpot = [&](double ms) { return std::clamp(ms / row.raw->tpot_ms, -1.0, 1.0); };
  constexpr double kFrontendMs = 20;
  constexpr double kHostMs = 1;
  d.ttft_parts = {1,
                  of_ttft(f.decode.total()),
                  of_ttft(f.queue_ms),
                  of_ttft(kFrontendMs),
                  of_ttft(f.burst_ttft_ms / 10),
                  of_ttft(f.transfer_ms),
                  0};
  d.tpot_parts = {1,
                  of_tpot(f.decode.experts),
                  of_tpot(f.decode.attention),
                  of_tpot(f.decode.gemm),
                  of_tpot(f.decode.collective),
                  of_tpot(row.raw->tpot_ms - f.decode.total()),
                  of_tpot(kHostMs)};
  return d;
}

}  // namespace dyn::eval
