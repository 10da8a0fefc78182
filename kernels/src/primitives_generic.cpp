#include <algorithm>
#include <cmath>
#include <cstring>

#include "primitives.h"

// Four lanes by the compiler's vector extension: SSE2 on the x86-64 baseline, NEON on Arm.
namespace dyn::kernels {
namespace {

using Vec = float __attribute__((vector_size(16)));
constexpr std::int64_t kLanes = 4;

Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

Vec load(const Bf16* p) {
  return Vec{to_float(p[0]), to_float(p[1]), to_float(p[2]), to_float(p[3])};
}

void store(float* p, const Vec& v) {
  std::memcpy(p, &v, sizeof(v));
}

Vec splat(float x) {
  return Vec{x, x, x, x};
}

float sum(const Vec& v) {
  return (v[0] + v[1]) + (v[2] + v[3]);
}

float widened(float x) {
  return x;
}
float widened(Bf16 x) {
  return to_float(x);
}

/// R rows of a against C rows of b: R * C running sums, R + C loads a step.
/// The loops over R and C must be unrolled for the sums to be registers; -O2 alone does not.
template <int R, int C, class B>
void dots(const float* a, std::int64_t lda, const B* b, std::int64_t ldb, std::int64_t k, float* c,
          std::int64_t ldc, bool accumulate) {
  Vec sums[R][C] = {};
  std::int64_t p = 0;
  for (; p + kLanes <= k; p += kLanes) {
    Vec left[R];
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) {
      left[i] = load(a + i * lda + p);
    }
#pragma GCC unroll 4
    for (int j = 0; j < C; ++j) {
      const Vec right = load(b + j * ldb + p);
#pragma GCC unroll 4
      for (int i = 0; i < R; ++i) {
        sums[i][j] += left[i] * right;
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < C; ++j) {
      float total = sum(sums[i][j]);
      for (std::int64_t q = p; q < k; ++q) {
        total += a[i * lda + q] * widened(b[j * ldb + q]);
      }
      c[i * ldc + j] = accumulate ? c[i * ldc + j] + total : total;
    }
  }
}

template <int R, class B>
void dots_of_rows(const float* a, std::int64_t lda, const B* b, std::int64_t ldb, int cols,
                  std::int64_t k, float* c, std::int64_t ldc, bool accumulate) {
  if (cols == 4) {
    dots<R, 4>(a, lda, b, ldb, k, c, ldc, accumulate);
    return;
  }
  for (int j = 0; j < cols; ++j) {
    dots<R, 1>(a, lda, b + j * ldb, ldb, k, c + j, ldc, accumulate);
  }
}

template <class B>
void dot_tile(const float* a, std::int64_t lda, const B* b, std::int64_t ldb, int rows, int cols,
              std::int64_t k, float* c, std::int64_t ldc, bool accumulate) {
  for (int j = 0; j < cols; j += 4) {
    const int width = std::min(4, cols - j);
    int i = 0;
    for (; i + 2 <= rows; i += 2) {
      dots_of_rows<2>(a + i * lda, lda, b + j * ldb, ldb, width, k, c + i * ldc + j, ldc,
                      accumulate);
    }
    if (i < rows) {
      dots_of_rows<1>(a + i * lda, lda, b + j * ldb, ldb, width, k, c + i * ldc + j, ldc,
                      accumulate);
    }
  }
}

void widen(const Bf16* from, float* to, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    to[i] = to_float(from[i]);
  }
}

void weighted_sum(const float* p, std::int64_t ldp, const float* v, std::int64_t ldv, int rows,
                  int keys, std::int64_t dim, float* acc) {
  for (int r = 0; r < rows; ++r) {
    float* out = acc + r * dim;
    std::int64_t d = 0;
    for (; d + 2 * kLanes <= dim; d += 2 * kLanes) {
      Vec low = load(out + d);
      Vec high = load(out + d + kLanes);
      for (int t = 0; t < keys; ++t) {
        const Vec weight = splat(p[r * ldp + t]);
        low += weight * load(v + t * ldv + d);
        high += weight * load(v + t * ldv + d + kLanes);
      }
      store(out + d, low);
      store(out + d + kLanes, high);
    }
    for (; d < dim; ++d) {
      for (int t = 0; t < keys; ++t) {
        out[d] += p[r * ldp + t] * v[t * ldv + d];
      }
    }
  }
}

float exponentials(float* x, int n, float largest) {
  float total = 0;
  for (int i = 0; i < n; ++i) {
    x[i] = std::exp(x[i] - largest);
    total += x[i];
  }
  return total;
}

void scale(float* x, float factor, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    x[i] *= factor;
  }
}

float sum_of_squares(const float* x, std::int64_t n) {
  Vec low{};
  Vec high{};
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    const Vec a = load(x + i);
    const Vec b = load(x + i + kLanes);
    low += a * a;
    high += b * b;
  }
  float total = sum(low + high);
  for (; i < n; ++i) {
    total += x[i] * x[i];
  }
  return total;
}

void scale_by(const float* x, float factor, const float* weight, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    out[i] = x[i] * factor * weight[i];
  }
}

void rotate(float* low, float* high, const float* cosine, const float* sine, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float a = low[i];
    const float b = high[i];
    low[i] = a * cosine[i] - b * sine[i];
    high[i] = b * cosine[i] + a * sine[i];
  }
}

}  // namespace

const Primitives& generic_primitives() {
  static constexpr Primitives kTable{"generic",    dot_tile<float>, dot_tile<Bf16>, widen,
                                     weighted_sum, exponentials,    scale,          sum_of_squares,
                                     scale_by,     rotate};
  return kTable;
}

const Primitives& primitives(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx2) {
    return avx2_primitives();
  }
#endif
  static_cast<void>(isa);
  return generic_primitives();
}

}  // namespace dyn::kernels
