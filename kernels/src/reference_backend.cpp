#include "reference_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "validate.h"

namespace dyn::kernels {
namespace {

double value_at(const Values& values, std::int64_t index) {
  if (values.precision == Precision::bf16) {
    return to_float(static_cast<const Bf16*>(values.data)[index]);
  }
  return static_cast<const float*>(values.data)[index];
}

/// Where the key (or value) of one head of one token of a sequence begins.
std::int64_t kv_offset(const PagedKv& kv, std::int64_t sequence, std::int64_t token,
                       std::int64_t head) {
  const std::int64_t block = kv.block_table[sequence * kv.table_stride + token / kv.block_size];
  return ((block * kv.block_size + token % kv.block_size) * kv.kv_heads + head) * kv.head_dim;
}

/// One query head over the first `visible` tokens of a sequence.
void attend(const PagedKv& kv, std::int64_t sequence, std::int64_t visible, std::int64_t kv_head,
            const float* query, float scale, float* out) {
  std::vector<double> weight(static_cast<std::size_t>(visible));
  double largest = -INFINITY;
  for (std::int64_t t = 0; t < visible; ++t) {
    const std::int64_t key = kv_offset(kv, sequence, t, kv_head);
    double dot = 0;
    for (std::int64_t d = 0; d < kv.head_dim; ++d) {
      dot += static_cast<double>(query[d]) * value_at(kv.keys, key + d);
    }
    weight[static_cast<std::size_t>(t)] = dot * scale;
    largest = std::max(largest, dot * scale);
  }
  double total = 0;
  for (double& w : weight) {
    w = std::exp(w - largest);
    total += w;
  }
  for (std::int64_t d = 0; d < kv.head_dim; ++d) {
    double sum = 0;
    for (std::int64_t t = 0; t < visible; ++t) {
      sum += weight[static_cast<std::size_t>(t)] *
             value_at(kv.values, kv_offset(kv, sequence, t, kv_head) + d);
    }
    out[d] = visible == 0 ? 0.0f : static_cast<float>(sum / total);
  }
}

}  // namespace

Result<void> ReferenceBackend::run(const Gemm& g) {
  for (std::int64_t i = 0; i < g.m; ++i) {
    for (std::int64_t j = 0; j < g.n; ++j) {
      double sum = 0;
      for (std::int64_t p = 0; p < g.k; ++p) {
        sum += static_cast<double>(g.a[i * g.lda + p]) * value_at(g.b, j * g.ldb + p);
      }
      g.c[i * g.ldc + j] = static_cast<float>(sum);
    }
  }
  return {};
}

Result<void> ReferenceBackend::run(const PrefillAttention& launch) {
  if (const Result<void> valid = check_sequences(launch); !valid) {
    return valid;
  }
  const PagedKv& kv = launch.kv;
  const std::int64_t group = launch.heads / kv.kv_heads;
  for (std::int64_t s = 0; s < kv.sequences; ++s) {
    const std::int64_t first = launch.query_start[s];
    const std::int64_t chunk = launch.query_start[s + 1] - first;
    for (std::int64_t i = 0; i < chunk; ++i) {
      const std::int64_t visible = kv.context[s] - chunk + i + 1;
      for (std::int64_t h = 0; h < launch.heads; ++h) {
        const std::int64_t at = ((first + i) * launch.heads + h) * kv.head_dim;
        attend(kv, s, visible, h / group, launch.query + at, launch.scale, launch.out + at);
      }
    }
  }
  return {};
}

Result<void> ReferenceBackend::run(const DecodeAttention& launch) {
  if (const Result<void> valid = check_contexts(launch.kv); !valid) {
    return valid;
  }
  const PagedKv& kv = launch.kv;
  const std::int64_t group = launch.heads / kv.kv_heads;
  for (std::int64_t s = 0; s < kv.sequences; ++s) {
    for (std::int64_t h = 0; h < launch.heads; ++h) {
      const std::int64_t at = (s * launch.heads + h) * kv.head_dim;
      attend(kv, s, kv.context[s], h / group, launch.query + at, launch.scale, launch.out + at);
    }
  }
  return {};
}

Result<void> ReferenceBackend::run(const RmsNorm& n) {
  for (std::int64_t t = 0; t < n.tokens; ++t) {
    double squares = 0;
    for (std::int64_t i = 0; i < n.hidden; ++i) {
      const double x = n.x[t * n.hidden + i];
      squares += x * x;
    }
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(n.hidden) + n.epsilon);
    for (std::int64_t i = 0; i < n.hidden; ++i) {
      n.out[t * n.hidden + i] =
          static_cast<float>(n.x[t * n.hidden + i] * scale * static_cast<double>(n.weight[i]));
    }
  }
  return {};
}

Result<void> ReferenceBackend::run(const Rope& r) {
  const std::int64_t half = r.rotary_dim / 2;
  for (std::int64_t t = 0; t < r.tokens; ++t) {
    for (std::int64_t h = 0; h < r.heads; ++h) {
      float* x = r.x + (t * r.heads + h) * r.head_dim;
      for (std::int64_t i = 0; i < half; ++i) {
        const double frequency =
            std::pow(r.base, -2.0 * static_cast<double>(i) / static_cast<double>(r.rotary_dim));
        const double angle = r.positions[t] * frequency;
        const double low = x[i];
        const double high = x[i + half];
        x[i] = static_cast<float>(low * std::cos(angle) - high * std::sin(angle));
        x[i + half] = static_cast<float>(high * std::cos(angle) + low * std::sin(angle));
      }
    }
  }
  return {};
}

Result<void> ReferenceBackend::run_gather(const BlockCopy& c) {
  if (const Result<void> valid = check_blocks(c, false); !valid) {
    return valid;
  }
  for (std::int64_t i = 0; i < c.count; ++i) {
    for (std::int64_t l = 0; l < c.layers; ++l) {
      std::memcpy(c.staging + (i * c.layers + l) * c.block_bytes,
                  c.pool + (l * c.pool_blocks + c.block_ids[i]) * c.block_bytes,
                  static_cast<std::size_t>(c.block_bytes));
    }
  }
  return {};
}

Result<void> ReferenceBackend::run_scatter(const BlockCopy& c) {
  if (const Result<void> valid = check_blocks(c, true); !valid) {
    return valid;
  }
  for (std::int64_t i = 0; i < c.count; ++i) {
    for (std::int64_t l = 0; l < c.layers; ++l) {
      std::memcpy(c.pool + (l * c.pool_blocks + c.block_ids[i]) * c.block_bytes,
                  c.staging + (i * c.layers + l) * c.block_bytes,
                  static_cast<std::size_t>(c.block_bytes));
    }
  }
  return {};
}

}  // namespace dyn::kernels
