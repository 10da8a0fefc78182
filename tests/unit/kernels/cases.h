#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "dyn/kernels/backend.h"

namespace dyn::kernels::test {

/// Random values in [-1, 1), the same on every machine.
class Values01 {
 public:
  explicit Values01(std::uint64_t seed) : engine_(seed) {}
  float next() { return static_cast<float>(engine_() >> 40) * 0x1p-23f - 1.0f; }
  std::int64_t below(std::int64_t bound) {
    return static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(bound));
  }
  std::vector<float> floats(std::int64_t n) {
    std::vector<float> result(static_cast<std::size_t>(n));
    for (float& x : result) {
      x = next();
    }
    return result;
  }

 private:
  std::mt19937_64 engine_;
};

std::vector<Bf16> narrowed(const std::vector<float>& values);
std::vector<float> widened(const std::vector<Bf16>& values);

/// The reference and every fast variant that this processor has, with one and more threads.
const std::vector<std::unique_ptr<Backend>>& all_backends();
/// The same without the reference.
std::vector<Backend*> fast_backends();
Backend& reference();

/// A paged cache with sequences in it, every block and table entry that nothing may read being
/// NaN or out of range.
struct PagedCase {
  std::int64_t heads = 1, kv_heads = 1, head_dim = 1, block_size = 1;
  std::vector<std::int32_t> context;      ///< of each sequence
  std::vector<std::int32_t> query_start;  ///< size context + 1
  std::int64_t blocks = 0, table_stride = 0;
  std::vector<float> keys{}, values{}, query{};
  std::vector<Bf16> keys_bf16{}, values_bf16{};
  std::vector<std::int32_t> table{};
  float scale = 1;

  /// Each chunk of `chunks` is a query at the end of the matching context.
  static PagedCase make(std::uint64_t seed, std::int64_t heads, std::int64_t kv_heads,
                        std::int64_t head_dim, std::int64_t block_size,
                        const std::vector<std::int32_t>& context,
                        const std::vector<std::int32_t>& chunks);
  /// Rounds keys and values to bf16 and lets the launches read those.
  void use_bf16();

  PrefillAttention prefill(std::vector<float>& out) const;
  DecodeAttention decode(std::vector<float>& out) const;
};

// Oracles in double, by Eigen.
std::vector<double> oracle_gemm(std::int64_t m, std::int64_t n, std::int64_t k,
                                const std::vector<float>& a, const std::vector<float>& b);
std::vector<double> oracle_attention(const PagedCase& c);
std::vector<double> oracle_rms_norm(std::int64_t tokens, std::int64_t hidden,
                                    const std::vector<float>& x, const std::vector<float>& weight,
                                    float epsilon);
std::vector<double> oracle_rope(const Rope& launch, const std::vector<float>& x);

/// The first element that differs by more than `tolerance` (absolute, plus as much relative), in
/// words; empty if there is none. NaN differs from everything.
std::string difference(const std::vector<float>& got, const std::vector<double>& expected,
                       double tolerance);

}  // namespace dyn::kernels::test
