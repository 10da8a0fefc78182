#include "validate.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <vector>

#include "dyn/kernels/error.h"

namespace dyn::kernels {
namespace {

/// The product of extents, all of them at least zero; fails where it exceeds 63 bits.
Result<std::int64_t> product(std::initializer_list<std::int64_t> extents) {
  std::int64_t result = 1;
  for (const std::int64_t extent : extents) {
    if (__builtin_mul_overflow(result, extent, &result)) {
      return errc::too_large;
    }
  }
  return result;
}

bool any_negative(std::initializer_list<std::int64_t> extents) {
  for (const std::int64_t extent : extents) {
    if (extent < 0) {
      return true;
    }
  }
  return false;
}

bool any_null(std::initializer_list<const void*> pointers) {
  for (const void* pointer : pointers) {
    if (pointer == nullptr) {
      return true;
    }
  }
  return false;
}

bool readable(const Values& values) {
  return values.precision == Precision::fp32 || values.precision == Precision::bf16;
}

/// The part of an attention launch that prefill and decode share. `tokens` are query tokens.
Result<bool> check_attention(const PagedKv& kv, std::int64_t heads, std::int64_t tokens,
                             const float* query, const float* out, float scale) {
  if (any_negative({kv.sequences, kv.blocks, kv.table_stride, tokens}) || kv.block_size <= 0 ||
      kv.kv_heads <= 0 || kv.head_dim <= 0 || heads <= 0) {
    return errc::bad_size;
  }
  if (heads % kv.kv_heads != 0) {
    return errc::bad_heads;
  }
  if (!std::isfinite(scale)) {
    return errc::bad_parameter;
  }
  if (!readable(kv.keys) || kv.keys.precision != kv.values.precision) {
    return errc::bad_precision;
  }
  const auto cache = product({kv.blocks, kv.block_size, kv.kv_heads, kv.head_dim, 4});
  const auto queries = product({tokens, heads, kv.head_dim, 4});
  const auto table = product({kv.sequences, kv.table_stride, 4});
  const auto reach = product({kv.table_stride, kv.block_size});
  if (!cache || !queries || !table || !reach) {
    return errc::too_large;
  }
  if (tokens == 0 || kv.sequences == 0) {
    return false;
  }
  if (any_null({query, out, kv.context})) {
    return errc::null_pointer;
  }
  if ((kv.blocks > 0 && any_null({kv.keys.data, kv.values.data})) ||
      (kv.table_stride > 0 && kv.block_table == nullptr)) {
    return errc::null_pointer;
  }
  return true;
}

}  // namespace

Result<bool> check(const Gemm& launch) {
  if (any_negative({launch.m, launch.n, launch.k, launch.lda, launch.ldb, launch.ldc})) {
    return errc::bad_size;
  }
  if (!readable(launch.b)) {
    return errc::bad_precision;
  }
  if ((launch.lda != 0 && launch.lda < launch.k) || (launch.ldb != 0 && launch.ldb < launch.k) ||
      (launch.ldc != 0 && launch.ldc < launch.n)) {
    return errc::bad_stride;
  }
  if (!product({launch.m, std::max(launch.lda, launch.k), 4}) ||
      !product({launch.n, std::max(launch.ldb, launch.k), 4}) ||
      !product({launch.m, std::max(launch.ldc, launch.n), 4})) {
    return errc::too_large;
  }
  if (launch.m == 0 || launch.n == 0) {
    return false;
  }
  if (launch.c == nullptr || (launch.k > 0 && any_null({launch.a, launch.b.data}))) {
    return errc::null_pointer;
  }
  return true;
}

Result<bool> check(const PrefillAttention& launch) {
  if (launch.tokens > std::numeric_limits<std::int32_t>::max()) {
    return errc::too_large;
  }
  if (launch.tokens > 0 && launch.kv.sequences == 0) {
    return errc::bad_sequence;
  }
  auto work = check_attention(launch.kv, launch.heads, launch.tokens, launch.query, launch.out,
                              launch.scale);
  if (work && *work && launch.query_start == nullptr) {
    return errc::null_pointer;
  }
  return work;
}

Result<bool> check(const DecodeAttention& launch) {
  return check_attention(launch.kv, launch.heads, launch.kv.sequences, launch.query, launch.out,
                         launch.scale);
}

Result<bool> check(const RmsNorm& launch) {
  if (any_negative({launch.tokens, launch.hidden})) {
    return errc::bad_size;
  }
  if (!std::isfinite(launch.epsilon) || launch.epsilon < 0) {
    return errc::bad_parameter;
  }
  const auto size = product({launch.tokens, launch.hidden, 4});
  if (!size) {
    return errc::too_large;
  }
  if (*size == 0) {
    return false;
  }
  if (any_null({launch.x, launch.weight, launch.out})) {
    return errc::null_pointer;
  }
  return true;
}

Result<bool> check(const Rope& launch) {
  if (any_negative({launch.tokens, launch.heads, launch.head_dim})) {
    return errc::bad_size;
  }
  const std::int64_t rotary = launch.rotary_dim == 0 ? launch.head_dim : launch.rotary_dim;
  if (rotary < 0 || rotary > launch.head_dim || rotary % 2 != 0 || !std::isfinite(launch.base) ||
      launch.base <= 0) {
    return errc::bad_parameter;
  }
  const auto size = product({launch.tokens, launch.heads, launch.head_dim, 4});
  if (!size) {
    return errc::too_large;
  }
  if (*size == 0) {
    return false;
  }
  if (any_null({launch.x, launch.positions})) {
    return errc::null_pointer;
  }
  return true;
}

Result<bool> check(const BlockCopy& launch) {
  if (any_negative({launch.count, launch.layers, launch.pool_blocks, launch.block_bytes})) {
    return errc::bad_size;
  }
  const auto staging = product({launch.count, launch.layers, launch.block_bytes});
  if (!staging || !product({launch.layers, launch.pool_blocks, launch.block_bytes})) {
    return errc::too_large;
  }
  if (*staging == 0) {
    return false;
  }
  if (any_null({launch.block_ids, launch.staging}) ||
      (launch.pool_blocks > 0 && launch.pool == nullptr)) {
    return errc::null_pointer;
  }
  return true;
}

Result<void> check_sequences(const PrefillAttention& launch) {
  const std::int32_t* start = launch.query_start;
  if (start[0] != 0 || start[launch.kv.sequences] != launch.tokens) {
    return errc::bad_sequence;
  }
  for (std::int64_t s = 0; s < launch.kv.sequences; ++s) {
    if (start[s + 1] < start[s] || start[s + 1] - start[s] > launch.kv.context[s]) {
      return errc::bad_sequence;
    }
  }
  return check_contexts(launch.kv);
}

Result<void> check_contexts(const PagedKv& kv) {
  for (std::int64_t s = 0; s < kv.sequences; ++s) {
    const std::int64_t context = kv.context[s];
    if (context < 0) {
      return errc::bad_sequence;
    }
    if (context > kv.table_stride * kv.block_size) {
      return errc::table_too_short;
    }
    const std::int32_t* row = kv.block_table + s * kv.table_stride;
    const std::int64_t used = context / kv.block_size + (context % kv.block_size != 0 ? 1 : 0);
    for (std::int64_t i = 0; i < used; ++i) {
      if (row[i] < 0 || row[i] >= kv.blocks) {
        return errc::bad_block;
      }
    }
  }
  return {};
}

Result<void> check_blocks(const BlockCopy& launch, bool distinct) {
  for (std::int64_t i = 0; i < launch.count; ++i) {
    if (launch.block_ids[i] < 0 || launch.block_ids[i] >= launch.pool_blocks) {
      return errc::bad_block;
    }
  }
  if (distinct) {
    std::vector<bool> seen(static_cast<std::size_t>(launch.pool_blocks));
    for (std::int64_t i = 0; i < launch.count; ++i) {
      auto bit = seen[static_cast<std::size_t>(launch.block_ids[i])];
      if (bit) {
        return errc::duplicate_block;
      }
      bit = true;
    }
  }
  return {};
}

}  // namespace dyn::kernels
