#pragma once

#include <cstddef>
#include <cstdint>

#include "dyn/core/precision.h"
#include "dyn/kernels/bf16.h"

// What the kernels are launched with: raw pointers into the memory of the backend's device, and
// the shapes. Extents are in elements, row-major, last dimension contiguous. An empty launch (an
// outer extent of zero) is valid and does nothing. Outputs may not overlap inputs except where
// it says "in place".
namespace dyn::kernels {

/// A read-only array of fp32 or bf16 values.
struct Values {
  const void* data = nullptr;
  Precision precision = Precision::fp32;

  Values() = default;
  Values(const float* values) : data(values) {}  // NOLINT: conversions are the point
  Values(const Bf16* values) : data(values), precision(Precision::bf16) {}  // NOLINT
};

/// C = A * B^T, as a linear layer computes it: A the activations, B the weights.
struct Gemm {
  std::int64_t m = 0;        ///< tokens
  std::int64_t n = 0;        ///< output features
  std::int64_t k = 0;        ///< input features; 0 makes C zero
  const float* a = nullptr;  ///< [m, k], rows `lda` apart
  Values b{};                ///< [n, k], rows `ldb` apart
  float* c = nullptr;        ///< [m, n], rows `ldc` apart
  std::int64_t lda = 0;      ///< elements; 0: k
  std::int64_t ldb = 0;      ///< elements; 0: k
  std::int64_t ldc = 0;      ///< elements; 0: n
};

/// A paged key/value cache and the sequences in it.
struct PagedKv {
  std::int64_t sequences = 0;
  std::int64_t blocks = 0;      ///< in the pool
  std::int64_t block_size = 0;  ///< tokens of a block
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t table_stride = 0;              ///< entries in a row of the block table
  Values keys{};                              ///< [blocks, block_size, kv_heads, head_dim]
  Values values{};                            ///< as `keys`, in the same precision
  const std::int32_t* block_table = nullptr;  ///< [sequences, table_stride] block numbers
  const std::int32_t* context = nullptr;  ///< [sequences] KV tokens, those of the query included
};

/// Causal attention of query chunks, each at the end of its sequence's context: token i of a
/// chunk of q sees the first context - q + i + 1 keys. Query head h reads key/value head
/// h / (heads / kv_heads).
struct PrefillAttention {
  PagedKv kv{};
  std::int64_t heads = 0;                     ///< query heads, a multiple of kv_heads
  std::int64_t tokens = 0;                    ///< query tokens of all sequences
  const float* query = nullptr;               ///< [tokens, heads, head_dim]
  const std::int32_t* query_start = nullptr;  ///< [sequences + 1] 0, ..., tokens; not decreasing
  float* out = nullptr;                       ///< [tokens, heads, head_dim]
  float scale = 0;                            ///< of the scores; usually 1 / sqrt(head_dim)
};

/// Attention of one new token per sequence; a context of 0 gives zeros.
struct DecodeAttention {
  PagedKv kv{};
  std::int64_t heads = 0;        ///< query heads, a multiple of kv_heads
  const float* query = nullptr;  ///< [sequences, heads, head_dim]
  float* out = nullptr;          ///< [sequences, heads, head_dim]
  float scale = 0;
};

/// out = x / sqrt(mean(x^2) + epsilon) * weight, row by row; in place is allowed.
struct RmsNorm {
  std::int64_t tokens = 0;
  std::int64_t hidden = 0;
  const float* x = nullptr;       ///< [tokens, hidden]
  const float* weight = nullptr;  ///< [hidden]
  float* out = nullptr;           ///< [tokens, hidden]
  float epsilon = 1e-6f;          ///< >= 0
};

/// Rotary position embedding in place, in the half-split form of Llama and Qwen: within the first
/// `rotary_dim` values of a head, pair (i, i + rotary_dim / 2) turns by
/// position * base^(-2 i / rotary_dim). Source: Su et al., RoFormer (arXiv:2104.09864), eq. 34.
struct Rope {
  std::int64_t tokens = 0;
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t rotary_dim = 0;              ///< even, at most head_dim; 0: head_dim
  float* x = nullptr;                       ///< [tokens, heads, head_dim]
  const std::int32_t* positions = nullptr;  ///< [tokens]
  double base = 10000.0;                    ///< > 0
};

/// Moves whole KV blocks between the pools of the layers and one contiguous staging buffer, in
/// which the layers of a block lie side by side: the form in which blocks leave the device.
struct BlockCopy {
  std::int64_t count = 0;  ///< blocks to move
  std::int64_t layers = 1;
  std::int64_t pool_blocks = 0;             ///< blocks in the pool of a layer
  std::int64_t block_bytes = 0;             ///< of one layer
  std::byte* pool = nullptr;                ///< [layers, pool_blocks, block_bytes]
  const std::int32_t* block_ids = nullptr;  ///< [count] block numbers; distinct for a scatter
  std::byte* staging = nullptr;             ///< [count, layers, block_bytes]
};

}  // namespace dyn::kernels
