#include "cpu_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "dyn/kernels/error.h"
#include "validate.h"

namespace dyn::kernels {
namespace {

/// Less work than this is done before a sleeping thread has woken (some 10 us).
constexpr double kWorthSharing = 200e3;

// Tiles of the GEMM. A tile of four rows of B (8 KiB) stays in L1 while the rows of A pass by;
// kRows rows of A (192 KiB) stay in L2.
constexpr std::int64_t kRows = 96;
constexpr std::int64_t kColumns = 64;
constexpr std::int64_t kDepth = 512;
/// Rows of a packed tile are so far apart that they do not share cache sets, as rows that are a
/// power of two apart do.
constexpr std::int64_t kPackedStride = kDepth + 16;
/// Up to so many tokens, tiles are read where they lie, else they are packed first.
constexpr std::int64_t kFewRows = 3;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return a / b + (a % b != 0 ? 1 : 0);
}

/// Copies `rows` rows of `depth` values from `offset` on into `packed`, widened.
void pack(const Primitives& f, const Values& from, std::int64_t offset, std::int64_t stride,
          int rows, std::int64_t depth, float* packed) {
  for (int i = 0; i < rows; ++i) {
    const std::int64_t at = offset + i * stride;
    if (from.precision == Precision::bf16) {
      f.widen(static_cast<const Bf16*>(from.data) + at, packed + i * kPackedStride, depth);
    } else {
      std::copy_n(static_cast<const float*>(from.data) + at, depth, packed + i * kPackedStride);
    }
  }
}

/// Rows [i0, i1) and columns [j0, j1) of C. `scratch` holds a packed tile of A and one of B.
void gemm_tile(const Primitives& f, const Gemm& g, std::int64_t i0, std::int64_t i1,
               std::int64_t j0, std::int64_t j1, float* scratch) {
  const int rows = static_cast<int>(i1 - i0);
  const int cols = static_cast<int>(j1 - j0);
  float* const packed_b = scratch + kRows * kPackedStride;
  float* const c = g.c + i0 * g.ldc + j0;
  for (std::int64_t p = 0; p < g.k; p += kDepth) {
    const std::int64_t depth = std::min(kDepth, g.k - p);
    const std::int64_t at_a = i0 * g.lda + p;
    const std::int64_t at_b = j0 * g.ldb + p;
    if (rows > kFewRows) {
      pack(f, Values(g.a), at_a, g.lda, rows, depth, scratch);
      pack(f, g.b, at_b, g.ldb, cols, depth, packed_b);
      f.dot_tile(scratch, kPackedStride, packed_b, kPackedStride, rows, cols, depth, c, g.ldc,
                 p > 0);
    } else if (g.b.precision == Precision::bf16) {
      f.dot_tile_bf16(g.a + at_a, g.lda, static_cast<const Bf16*>(g.b.data) + at_b, g.ldb, rows,
                      cols, depth, c, g.ldc, p > 0);
    } else {
      f.dot_tile(g.a + at_a, g.lda, static_cast<const float*>(g.b.data) + at_b, g.ldb, rows, cols,
                 depth, c, g.ldc, p > 0);
    }
  }
}

}  // namespace

Result<void> CpuBackend::share(std::int64_t count, double work, std::size_t floats,
                               const std::function<void(std::int64_t, float*)>& body) {
  try {
    scratch_.resize(static_cast<std::size_t>(pool_.size()));
    for (std::vector<float>& scratch : scratch_) {
      if (scratch.size() < floats) {
        scratch.resize(floats);
      }
    }
  } catch (const std::bad_alloc&) {
    return errc::out_of_memory;
  }
  if (work < kWorthSharing) {
    for (std::int64_t i = 0; i < count; ++i) {
      body(i, scratch_[0].data());
    }
    return {};
  }
  pool_.run(count, [&](std::int64_t i, int worker) {
    body(i, scratch_[static_cast<std::size_t>(worker)].data());
  });
  return {};
}

Result<void> CpuBackend::run(const Gemm& g) {
  const std::lock_guard lock(mutex_);
  if (g.k == 0) {
    for (std::int64_t i = 0; i < g.m; ++i) {
      std::fill_n(g.c + i * g.ldc, g.n, 0.0f);
    }
    return {};
  }
  const std::int64_t down = ceil_div(g.m, kRows);
  const std::int64_t across = ceil_div(g.n, kColumns);
  const double work =
      static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k);
  return share(down * across, work, (kRows + kColumns) * kPackedStride,
               [&](std::int64_t tile, float* scratch) {
                 const std::int64_t i0 = tile % down * kRows;
                 const std::int64_t j0 = tile / down * kColumns;
                 gemm_tile(primitives_, g, i0, std::min(i0 + kRows, g.m), j0,
                           std::min(j0 + kColumns, g.n), scratch);
               });
}

Result<void> CpuBackend::run(const RmsNorm& n) {
  const std::lock_guard lock(mutex_);
  constexpr std::int64_t kTokens = 16;  // of one piece
  const double work = static_cast<double>(n.tokens) * static_cast<double>(n.hidden);
  return share(ceil_div(n.tokens, kTokens), work, 0, [&](std::int64_t piece, float*) {
    const std::int64_t end = std::min((piece + 1) * kTokens, n.tokens);
    for (std::int64_t t = piece * kTokens; t < end; ++t) {
      const float* x = n.x + t * n.hidden;
      const float mean = primitives_.sum_of_squares(x, n.hidden) / static_cast<float>(n.hidden);
      primitives_.scale_by(x, 1.0f / std::sqrt(mean + n.epsilon), n.weight, n.out + t * n.hidden,
                           n.hidden);
    }
  });
}

Result<void> CpuBackend::run(const Rope& r) {
  const std::lock_guard lock(mutex_);
  const std::int64_t half = r.rotary_dim / 2;
  std::vector<double> frequency;
  try {
    frequency.resize(static_cast<std::size_t>(half));
  } catch (const std::bad_alloc&) {
    return errc::out_of_memory;
  }
  for (std::int64_t i = 0; i < half; ++i) {
    frequency[static_cast<std::size_t>(i)] =
        std::pow(r.base, -2.0 * static_cast<double>(i) / static_cast<double>(r.rotary_dim));
  }
  // A cosine and sine of double cost about twenty multiply-adds; all heads of a token share them.
  const double work =
      static_cast<double>(r.tokens) * static_cast<double>(half) * static_cast<double>(r.heads + 40);
  const auto table = static_cast<std::size_t>(r.rotary_dim);
  return share(r.tokens, work, table, [&](std::int64_t t, float* scratch) {
    float* cosine = scratch;
    float* sine = scratch + half;
    for (std::int64_t i = 0; i < half; ++i) {
      const double angle = r.positions[t] * frequency[static_cast<std::size_t>(i)];
      cosine[i] = static_cast<float>(std::cos(angle));
      sine[i] = static_cast<float>(std::sin(angle));
    }
    for (std::int64_t h = 0; h < r.heads; ++h) {
      float* x = r.x + (t * r.heads + h) * r.head_dim;
      primitives_.rotate(x, x + half, cosine, sine, half);
    }
  });
}

Result<void> CpuBackend::copy_blocks(const BlockCopy& c, bool gather) {
  const std::lock_guard lock(mutex_);
  if (const Result<void> valid = check_blocks(c, !gather); !valid) {
    return valid;
  }
  const double work = static_cast<double>(c.count) * static_cast<double>(c.layers) *
                      static_cast<double>(c.block_bytes);
  return share(c.count, work, 0, [&](std::int64_t i, float*) {
    for (std::int64_t l = 0; l < c.layers; ++l) {
      std::byte* inside = c.pool + (l * c.pool_blocks + c.block_ids[i]) * c.block_bytes;
      std::byte* outside = c.staging + (i * c.layers + l) * c.block_bytes;
      std::memcpy(gather ? outside : inside, gather ? inside : outside,
                  static_cast<std::size_t>(c.block_bytes));
    }
  });
}

Result<void> CpuBackend::run_gather(const BlockCopy& launch) {
  return copy_blocks(launch, true);
}

Result<void> CpuBackend::run_scatter(const BlockCopy& launch) {
  return copy_blocks(launch, false);
}

}  // namespace dyn::kernels
