#if defined(__x86_64__)

#include <immintrin.h>

#include <cmath>

#include "primitives.h"

// Every function that uses AVX2 says so itself: the file is compiled for the x86-64 baseline, so
// that no inline function of a header can end up with instructions the processor lacks.
#define DYN_AVX2 __attribute__((target("avx2,fma")))

namespace dyn::kernels {
namespace {

constexpr std::int64_t kLanes = 8;

DYN_AVX2 inline __m256 load(const float* p) {
  return _mm256_loadu_ps(p);
}

DYN_AVX2 inline __m256 load(const Bf16* p) {
  const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

DYN_AVX2 inline float sum(__m256 v) {
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

float widened(float x) {
  return x;
}
float widened(Bf16 x) {
  return to_float(x);
}

/// R rows of a against C rows of b. 3 x 4 keeps 12 sums in registers and is bound by the
/// multiply-adds: 7 loads for 12 of them. The loops over R and C must be unrolled for that, which
/// -O2 alone does not do.
template <int R, int C, class B>
DYN_AVX2 inline void dots(const float* a, std::int64_t lda, const B* b, std::int64_t ldb,
                          std::int64_t k, float* c, std::int64_t ldc, bool accumulate) {
  __m256 sums[R][C];
#pragma GCC unroll 4
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < C; ++j) {
      sums[i][j] = _mm256_setzero_ps();
    }
  }
  std::int64_t p = 0;
  for (; p + kLanes <= k; p += kLanes) {
    __m256 left[R];
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) {
      left[i] = load(a + i * lda + p);
    }
#pragma GCC unroll 4
    for (int j = 0; j < C; ++j) {
      const __m256 right = load(b + j * ldb + p);
#pragma GCC unroll 4
      for (int i = 0; i < R; ++i) {
        sums[i][j] = _mm256_fmadd_ps(left[i], right, sums[i][j]);
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
DYN_AVX2 void dots_of_rows(const float* a, std::int64_t lda, const B* b, std::int64_t ldb, int cols,
                           std::int64_t k, float* c, std::int64_t ldc, bool accumulate) {
  switch (cols) {
    case 4:
      return dots<R, 4>(a, lda, b, ldb, k, c, ldc, accumulate);
    case 3:
      return dots<R, 3>(a, lda, b, ldb, k, c, ldc, accumulate);
    case 2:
      return dots<R, 2>(a, lda, b, ldb, k, c, ldc, accumulate);
    default:
      return dots<R, 1>(a, lda, b, ldb, k, c, ldc, accumulate);
  }
}

template <class B>
DYN_AVX2 void dot_tile(const float* a, std::int64_t lda, const B* b, std::int64_t ldb, int rows,
                       int cols, std::int64_t k, float* c, std::int64_t ldc, bool accumulate) {
  for (int j = 0; j < cols; j += 4) {
    const int width = cols - j < 4 ? cols - j : 4;
    const B* right = b + j * ldb;
    int i = 0;
    for (; i + 3 <= rows; i += 3) {
      dots_of_rows<3>(a + i * lda, lda, right, ldb, width, k, c + i * ldc + j, ldc, accumulate);
    }
    if (rows - i == 2) {
      dots_of_rows<2>(a + i * lda, lda, right, ldb, width, k, c + i * ldc + j, ldc, accumulate);
    } else if (rows - i == 1) {
      dots_of_rows<1>(a + i * lda, lda, right, ldb, width, k, c + i * ldc + j, ldc, accumulate);
    }
  }
}

DYN_AVX2 void widen(const Bf16* from, float* to, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    _mm256_storeu_ps(to + i, load(from + i));
  }
  for (; i < n; ++i) {
    to[i] = to_float(from[i]);
  }
}

/// One row: four registers of the output stay put while all keys pass by.
DYN_AVX2 void weighted_row(const float* p, const float* v, std::int64_t ldv, int keys,
                           std::int64_t dim, float* out) {
  std::int64_t d = 0;
  for (; d + 4 * kLanes <= dim; d += 4 * kLanes) {
    __m256 s0 = load(out + d), s1 = load(out + d + 8);
    __m256 s2 = load(out + d + 16), s3 = load(out + d + 24);
    for (int t = 0; t < keys; ++t) {
      const __m256 weight = _mm256_broadcast_ss(p + t);
      const float* value = v + t * ldv + d;
      s0 = _mm256_fmadd_ps(weight, load(value), s0);
      s1 = _mm256_fmadd_ps(weight, load(value + 8), s1);
      s2 = _mm256_fmadd_ps(weight, load(value + 16), s2);
      s3 = _mm256_fmadd_ps(weight, load(value + 24), s3);
    }
    _mm256_storeu_ps(out + d, s0);
    _mm256_storeu_ps(out + d + 8, s1);
    _mm256_storeu_ps(out + d + 16, s2);
    _mm256_storeu_ps(out + d + 24, s3);
  }
  for (; d + kLanes <= dim; d += kLanes) {
    __m256 s = load(out + d);
    for (int t = 0; t < keys; ++t) {
      s = _mm256_fmadd_ps(_mm256_broadcast_ss(p + t), load(v + t * ldv + d), s);
    }
    _mm256_storeu_ps(out + d, s);
  }
  for (; d < dim; ++d) {
    for (int t = 0; t < keys; ++t) {
      out[d] += p[t] * v[t * ldv + d];
    }
  }
}

DYN_AVX2 void weighted_sum(const float* p, std::int64_t ldp, const float* v, std::int64_t ldv,
                           int rows, int keys, std::int64_t dim, float* acc) {
  for (int r = 0; r < rows; ++r) {
    weighted_row(p + r * ldp, v, ldv, keys, dim, acc + r * dim);
  }
}

/// exp(x) for x <= 0, within 2 ulp: x = n ln 2 + r with |r| <= ln(2) / 2, the Taylor series of
/// exp(r) to the 7th power, and 2^n through the exponent bits. Below the normal range it is 0.
DYN_AVX2 inline __m256 exponential(__m256 x) {
  const __m256 normal = _mm256_cmp_ps(x, _mm256_set1_ps(-87.3f), _CMP_GE_OQ);
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  // ln 2 in two parts, the first with few enough bits that n times it is exact.
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
  __m256 series = _mm256_set1_ps(1.0f / 5040);
  series = _mm256_fmadd_ps(series, r, _mm256_set1_ps(1.0f / 720));
  series = _mm256_fmadd_ps(series, r, _mm256_set1_ps(1.0f / 120));
  series = _mm256_fmadd_ps(series, r, _mm256_set1_ps(1.0f / 24));
  series = _mm256_fmadd_ps(series, r, _mm256_set1_ps(1.0f / 6));
  series = _mm256_fmadd_ps(series, r, _mm256_set1_ps(0.5f));
  series = _mm256_fmadd_ps(series, r, _mm256_set1_ps(1.0f));
  series = _mm256_fmadd_ps(series, r, _mm256_set1_ps(1.0f));
  const __m256i power =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return _mm256_and_ps(normal, _mm256_mul_ps(series, _mm256_castsi256_ps(power)));
}

DYN_AVX2 float exponentials(float* x, int n, float largest) {
  const __m256 shift = _mm256_set1_ps(largest);
  __m256 totals = _mm256_setzero_ps();
  int i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256 e = exponential(_mm256_sub_ps(load(x + i), shift));
    totals = _mm256_add_ps(totals, e);
    _mm256_storeu_ps(x + i, e);
  }
  float total = sum(totals);
  for (; i < n; ++i) {
    x[i] = std::exp(x[i] - largest);
    total += x[i];
  }
  return total;
}

DYN_AVX2 void scale(float* x, float factor, std::int64_t n) {
  const __m256 factors = _mm256_set1_ps(factor);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    _mm256_storeu_ps(x + i, _mm256_mul_ps(load(x + i), factors));
  }
  for (; i < n; ++i) {
    x[i] *= factor;
  }
}

DYN_AVX2 float sum_of_squares(const float* x, std::int64_t n) {
  __m256 s0 = _mm256_setzero_ps();
  __m256 s1 = _mm256_setzero_ps();
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    const __m256 a = load(x + i);
    const __m256 b = load(x + i + kLanes);
    s0 = _mm256_fmadd_ps(a, a, s0);
    s1 = _mm256_fmadd_ps(b, b, s1);
  }
  float total = sum(_mm256_add_ps(s0, s1));
  for (; i < n; ++i) {
    total += x[i] * x[i];
  }
  return total;
}

DYN_AVX2 void scale_by(const float* x, float factor, const float* weight, float* out,
                       std::int64_t n) {
  const __m256 factors = _mm256_set1_ps(factor);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const __m256 scaled = _mm256_mul_ps(load(x + i), factors);
    _mm256_storeu_ps(out + i, _mm256_mul_ps(scaled, load(weight + i)));
  }
  for (; i < n; ++i) {
    out[i] = x[i] * factor * weight[i];
  }
}

DYN_AVX2 void rotate(float* low, float* high, const float* cosine, const float* sine,
                     std::int64_t n) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const __m256 a = load(low + i);
    const __m256 b = load(high + i);
    const __m256 cosines = load(cosine + i);
    const __m256 sines = load(sine + i);
    _mm256_storeu_ps(low + i, _mm256_fmsub_ps(a, cosines, _mm256_mul_ps(b, sines)));
    _mm256_storeu_ps(high + i, _mm256_fmadd_ps(b, cosines, _mm256_mul_ps(a, sines)));
  }
  for (; i < n; ++i) {
    const float a = low[i];
    const float b = high[i];
    low[i] = a * cosine[i] - b * sine[i];
    high[i] = b * cosine[i] + a * sine[i];
  }
}

}  // namespace

const Primitives& avx2_primitives() {
  static constexpr Primitives kTable{"avx2",       dot_tile<float>, dot_tile<Bf16>, widen,
                                     weighted_sum, exponentials,    scale,          sum_of_squares,
                                     scale_by,     rotate};
  return kTable;
}

}  // namespace dyn::kernels

#endif
