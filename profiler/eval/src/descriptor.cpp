#include "descriptor.h"

#include <algorithm>

#include "dyn/core/check.h"
#include "dyn/core/describe.h"
#include "dyn/core/math.h"
#include "dyn/core/schemas.h"

namespace dyn::eval {
namespace {

double log2_of(double x) {
  return portable_log2(std::max(x, 1e-3));
}

}  // namespace

const std::array<const char*, Descriptor::kNames> kDescriptorNames{"engine", "system", "version",
                                                                   "model", "precision"};
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
                                                                       "other_client",
                                                                       "disaggregated",
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
  d.names = {r.engine, r.system, r.engine + ' ' + r.version, r.model, enum_text(r.gemm)};
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
               r.other_client() ? 2.0 : 0.0,
               r.disaggregated ? 2.0 : 0.0,
               log2_of(row.raw->ttft_ms),
               log2_of(row.raw->tpot_ms)};
  return d;
}

}  // namespace dyn::eval
