#pragma once

#include <cstdint>

#include "dyn/kernels/backend.h"
#include "dyn/kernels/bf16.h"

namespace dyn::kernels {

/// The inner loops that differ by instruction set; everything around them (blocking, threads,
/// tables) is written once. None allocates or synchronises. Strides are in elements.
struct Primitives {
  const char* name;

  /// c[rows, cols] = a[rows, k] * b[cols, k]^T, or += if `accumulate`.
  void (*dot_tile)(const float* a, std::int64_t lda, const float* b, std::int64_t ldb, int rows,
                   int cols, std::int64_t k, float* c, std::int64_t ldc, bool accumulate);
  /// The same for weights that are widened as they are read; for few rows.
  void (*dot_tile_bf16)(const float* a, std::int64_t lda, const Bf16* b, std::int64_t ldb, int rows,
                        int cols, std::int64_t k, float* c, std::int64_t ldc, bool accumulate);
  /// to[i] = from[i] for i < n.
  void (*widen)(const Bf16* from, float* to, std::int64_t n);
  /// acc[rows, dim] += p[rows, keys] * v[keys, dim]; rows of `acc` are `dim` apart.
  void (*weighted_sum)(const float* p, std::int64_t ldp, const float* v, std::int64_t ldv, int rows,
                       int keys, std::int64_t dim, float* acc);
  /// x[i] = exp(x[i] - largest); returns their sum. x[i] <= largest.
  float (*exponentials)(float* x, int n, float largest);
  /// x[i] *= factor.
  void (*scale)(float* x, float factor, std::int64_t n);
  float (*sum_of_squares)(const float* x, std::int64_t n);
  /// out[i] = x[i] * factor * weight[i]; out may be x.
  void (*scale_by)(const float* x, float factor, const float* weight, float* out, std::int64_t n);
  /// (low[i], high[i]) turned by the angle of cosine[i] and sine[i].
  void (*rotate)(float* low, float* high, const float* cosine, const float* sine, std::int64_t n);
};

/// `isa` must be one that this processor has.
const Primitives& primitives(Isa isa);

const Primitives& generic_primitives();
#if defined(__x86_64__)
const Primitives& avx2_primitives();
#endif

}  // namespace dyn::kernels
