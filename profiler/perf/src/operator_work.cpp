#include "dyn/perf/operator_work.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "dyn/core/math.h"
#include "operators.h"

namespace dyn::perf {
namespace {

constexpr double kActivation = 2.0;  // bytes of a bf16 activation

struct LatentSizes {
  double rank = 512;
  double rope = 64;
  double nope = 128;
  double value = 128;
};

/// Query-key pairs of a chunk: q prior + q (q + 1) / 2, at most `window` a query.
double causal_pairs(const AttentionShape& s) {
  const double rows = s.sequences * s.queries;
  const double pairs = rows * s.context + 0.5 * rows * (s.queries + 1);
  return s.window > 0 ? std::min(pairs, rows * s.window) : pairs;
}

double read_context(const AttentionShape& s) {
  return s.sequences * (s.window > 0 ? std::min(s.context, s.window) : s.context);
}

}  // namespace

Work gemm_work(double tokens, double n, double k, Precision weights) {
  const double input = std::min(kActivation, bytes_per_value(compute_precision(weights)));
  return {2 * tokens * n * k,
          n * k * bytes_per_value(weights) + tokens * (k * input + n * kActivation)};
}

Work prefill_work(const AttentionShape& s) {
  const double rows = s.sequences * s.queries;
  const double kv = 2 * s.kv_heads * s.head_dim * bytes_per_value(s.kv_cache);
  return {4 * s.heads * s.head_dim * causal_pairs(s),
          kv * (read_context(s) + rows) + 2 * s.heads * s.head_dim * kActivation * rows};
}

Work decode_work(const AttentionShape& s) {
  const double context = read_context(s);
  const double kv = 2 * s.kv_heads * s.head_dim * bytes_per_value(s.kv_cache);
  return {4 * s.heads * s.head_dim * context,
          kv * context + 2 * s.heads * s.head_dim * kActivation * s.sequences};
}

Work latent_prefill_work(const AttentionShape& s) {
  const LatentSizes d;
  const double rows = s.sequences * s.queries;
  const double latent = (d.rank + d.rope) * bytes_per_value(s.kv_cache);
  const double head = d.nope + d.rope + d.value;
  return {2 * s.heads * head * causal_pairs(s) +
              2 * d.rank * s.heads * (d.nope + d.value) * read_context(s),
          latent * (read_context(s) + rows) + s.heads * head * kActivation * rows};
}

Work latent_decode_work(const AttentionShape& s) {
  const LatentSizes d;
  const double context = read_context(s);
  const double wide = 2 * d.rank + d.rope;
  return {2 * s.heads * wide * context, (d.rank + d.rope) * bytes_per_value(s.kv_cache) * context +
                                            s.heads * wide * kActivation * s.sequences};
}

ExpertLoad busiest_load(double tokens, double per_token, double experts, double ranks) {
  const double mean = tokens * per_token / ranks;
  const double most = tokens * std::min(per_token, experts / ranks);
  const double rows = std::min(most, mean + std::sqrt(2 * mean * portable_log(ranks)));
  const double used =
      expected_experts(experts, per_token, static_cast<std::int64_t>(std::ceil(tokens)));
  return {rows, std::min(experts / ranks, used / ranks * rows / mean)};
}

Work moe_work(const ExpertShape& s) {
  const ExpertLoad load = busiest_load(s.tokens, s.per_token, s.experts, s.ranks);
  const double matrix = s.hidden * s.width;
  return {6 * matrix * load.rows, 3 * matrix * bytes_per_value(s.weights) * load.experts +
                                      (2 * s.hidden + 3 * s.width) * kActivation * load.rows};
}

bool is_collective(OperatorKind kind) {
  switch (kind) {
    case OperatorKind::all_reduce:
    case OperatorKind::all_gather:
    case OperatorKind::reduce_scatter:
    case OperatorKind::all_to_all:
    case OperatorKind::send_recv:
      return true;
    default:
      return false;
  }
}

double all_reduce_bytes(double bytes, int gpus) {
  return 2 * gather_bytes(bytes, gpus);
}

double gather_bytes(double bytes, int gpus) {
  return bytes * (gpus - 1) / gpus;
}

}  // namespace dyn::perf
