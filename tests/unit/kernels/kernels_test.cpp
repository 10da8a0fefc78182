#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <thread>

#include "cases.h"

namespace dyn::kernels::test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

double gemm_tolerance(std::int64_t k) {
  return 1e-6 * std::sqrt(static_cast<double>(k) + 1);
}

/// The same product with fp32 and, where asked, bf16 weights, on every backend.
void check_gemm(std::int64_t m, std::int64_t n, std::int64_t k, bool bf16) {
  Values01 random(static_cast<std::uint64_t>(m * 10007 + n * 101 + k));
  const auto a = random.floats(m * k);
  auto b = random.floats(n * k);
  const auto narrow = narrowed(b);
  if (bf16) {
    b = widened(narrow);
  }
  const auto expected = oracle_gemm(m, n, k, a, b);
  for (const auto& backend : all_backends()) {
    std::vector<float> c(static_cast<std::size_t>(m * n), kNan);
    Gemm launch{m, n, k, a.data(), Values(b.data()), c.data()};
    if (bf16) {
      launch.b = Values(narrow.data());
    }
    INFO(backend->name() << " " << m << "x" << n << "x" << k << (bf16 ? " bf16" : " fp32"));
    REQUIRE(backend->gemm(launch));
    REQUIRE(difference(c, expected, gemm_tolerance(k)) == "");
  }
}

TEST_CASE("GEMM equals Eigen in double for even, odd, tiny and tiled shapes", "[gemm]") {
  for (const bool bf16 : {false, true}) {
    check_gemm(1, 1, 1, bf16);
    check_gemm(1, 67, 129, bf16);
    check_gemm(2, 64, 512, bf16);
    check_gemm(3, 5, 7, bf16);
    check_gemm(4, 4, 8, bf16);
    check_gemm(97, 65, 513, bf16);
    check_gemm(200, 130, 1030, bf16);
  }
}

TEST_CASE("GEMM leaves what lies between the rows of a strided output alone", "[gemm]") {
  Values01 random(7);
  const std::int64_t m = 5, n = 6, k = 9;
  const auto wide_a = random.floats(m * (k + 3));
  const auto wide_b = random.floats(n * (k + 5));
  std::vector<float> a, b;
  for (std::int64_t i = 0; i < m; ++i) {
    a.insert(a.end(), wide_a.begin() + i * (k + 3), wide_a.begin() + i * (k + 3) + k);
  }
  for (std::int64_t j = 0; j < n; ++j) {
    b.insert(b.end(), wide_b.begin() + j * (k + 5), wide_b.begin() + j * (k + 5) + k);
  }
  const auto expected = oracle_gemm(m, n, k, a, b);
  for (const auto& backend : all_backends()) {
    std::vector<float> c(static_cast<std::size_t>(m * (n + 2)), 42.0f);
    REQUIRE(backend->gemm({m, n, k, wide_a.data(), wide_b.data(), c.data(), k + 3, k + 5, n + 2}));
    for (std::int64_t i = 0; i < m; ++i) {
      const auto row = c.begin() + i * (n + 2);
      const std::vector<double> want(expected.begin() + i * n, expected.begin() + (i + 1) * n);
      REQUIRE(difference({row, row + n}, want, gemm_tolerance(k)) == "");
      REQUIRE(row[n] == 42.0f);
      REQUIRE(row[n + 1] == 42.0f);
    }
  }
}

TEST_CASE("GEMM over no input features gives zeros", "[gemm]") {
  for (const auto& backend : all_backends()) {
    std::vector<float> c(6, kNan);
    REQUIRE(backend->gemm({2, 3, 0, nullptr, {}, c.data()}));
    REQUIRE(c == std::vector<float>(6, 0.0f));
  }
}

void check_attention(PagedCase c) {
  for (const bool bf16 : {false, true}) {
    if (bf16) {
      c.use_bf16();
    }
    const auto expected = oracle_attention(c);
    for (const auto& backend : all_backends()) {
      std::vector<float> out;
      INFO(backend->name() << (bf16 ? " bf16" : " fp32"));
      REQUIRE(backend->attention_prefill(c.prefill(out)));
      REQUIRE(difference(out, expected, 2e-5) == "");
    }
  }
}

TEST_CASE("A prefill chunk attends to its prior context and to itself up to each token",
          "[attention]") {
  check_attention(PagedCase::make(1, 4, 2, 16, 4, {23}, {9}));
}

TEST_CASE("A whole prompt attends causally", "[attention]") {
  check_attention(PagedCase::make(2, 8, 8, 64, 16, {130}, {130}));
}

TEST_CASE("Chunks of several sequences in one launch do not see each other", "[attention]") {
  check_attention(PagedCase::make(3, 6, 2, 20, 8, {1, 40, 17, 3}, {1, 5, 17, 0}));
}

TEST_CASE("Blocks larger than a step and groups larger than a tile are cut up", "[attention]") {
  check_attention(PagedCase::make(4, 100, 1, 33, 130, {260}, {3}));
}

TEST_CASE("Decode attends to the whole context of each sequence", "[attention]") {
  auto c = PagedCase::make(5, 8, 2, 128, 16, {1, 16, 17, 200}, {1, 1, 1, 1});
  for (const bool bf16 : {false, true}) {
    if (bf16) {
      c.use_bf16();
    }
    const auto expected = oracle_attention(c);
    for (const auto& backend : all_backends()) {
      std::vector<float> out;
      INFO(backend->name());
      REQUIRE(backend->attention_decode(c.decode(out)));
      REQUIRE(difference(out, expected, 2e-5) == "");
    }
  }
}

TEST_CASE("Decode over an empty context gives zeros", "[attention]") {
  auto c = PagedCase::make(6, 2, 1, 8, 4, {0, 5}, {1, 1});
  for (const auto& backend : all_backends()) {
    std::vector<float> out;
    REQUIRE(backend->attention_decode(c.decode(out)));
    REQUIRE(std::vector<float>(out.begin(), out.begin() + 16) == std::vector<float>(16, 0.0f));
    REQUIRE(std::isfinite(out.back()));
  }
}

TEST_CASE("Scores far apart neither overflow nor lose the larger", "[attention]") {
  auto c = PagedCase::make(7, 2, 2, 8, 4, {30}, {30});
  c.scale = 500.0f;  // scores of some hundreds and of minus some hundreds
  const auto expected = oracle_attention(c);
  for (const auto& backend : all_backends()) {
    std::vector<float> out;
    REQUIRE(backend->attention_prefill(c.prefill(out)));
    REQUIRE(difference(out, expected, 2e-3) == "");
  }
}

TEST_CASE("RMSNorm equals Eigen in double, in place as well", "[elementwise]") {
  for (const auto& [tokens, hidden] :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 1}, {3, 17}, {40, 5120}, {33, 64}}) {
    Values01 random(11);
    const auto x = random.floats(tokens * hidden);
    const auto weight = random.floats(hidden);
    const auto expected = oracle_rms_norm(tokens, hidden, x, weight, 1e-5f);
    for (const auto& backend : all_backends()) {
      std::vector<float> out(x.size(), kNan);
      REQUIRE(backend->rms_norm({tokens, hidden, x.data(), weight.data(), out.data(), 1e-5f}));
      REQUIRE(difference(out, expected, 5e-6) == "");
      auto same = x;
      REQUIRE(backend->rms_norm({tokens, hidden, same.data(), weight.data(), same.data(), 1e-5f}));
      REQUIRE(same == out);
    }
  }
}

TEST_CASE("RoPE turns each pair by position and frequency and leaves the rest", "[elementwise]") {
  for (const std::int64_t rotary : {0, 2, 24, 26}) {
    Values01 random(13);
    const std::int64_t tokens = 37, heads = 3, dim = 26;
    const auto x = random.floats(tokens * heads * dim);
    std::vector<std::int32_t> positions;
    for (std::int64_t t = 0; t < tokens; ++t) {
      positions.push_back(static_cast<std::int32_t>(random.below(131072)));
    }
    Rope launch{tokens, heads, dim, rotary, nullptr, positions.data(), 1e6};
    const auto expected = oracle_rope(launch, x);
    for (const auto& backend : all_backends()) {
      auto turned = x;
      launch.x = turned.data();
      REQUIRE(backend->rope(launch));
      REQUIRE(difference(turned, expected, 2e-6) == "");
    }
  }
}

TEST_CASE("Gathered blocks lie side by side, layers of a block together", "[blocks]") {
  std::vector<std::byte> pool(2 * 4 * 3);  // 2 layers, 4 blocks, 3 bytes
  for (std::size_t i = 0; i < pool.size(); ++i) {
    pool[i] = static_cast<std::byte>(i);
  }
  const std::vector<std::int32_t> ids{2, 0, 2};
  for (const auto& backend : all_backends()) {
    std::vector<std::byte> staging(3 * 2 * 3);
    REQUIRE(backend->gather_blocks({3, 2, 4, 3, pool.data(), ids.data(), staging.data()}));
    const std::vector<int> expected{6, 7, 8, 18, 19, 20, 0, 1, 2, 12, 13, 14, 6, 7, 8, 18, 19, 20};
    for (std::size_t i = 0; i < expected.size(); ++i) {
      REQUIRE(static_cast<int>(staging[i]) == expected[i]);
    }
  }
}

TEST_CASE("Scattering what was gathered restores the pool and touches no other block", "[blocks]") {
  constexpr std::int64_t kLayers = 3, kBlocks = 50, kBytes = 20000;
  std::vector<std::byte> pool(kLayers * kBlocks * kBytes);
  Values01 random(17);
  for (std::byte& b : pool) {
    b = static_cast<std::byte>(random.below(256));
  }
  std::vector<std::int32_t> ids{49, 3, 17, 0, 21};
  for (const auto& backend : all_backends()) {
    std::vector<std::byte> staging(ids.size() * kLayers * kBytes);
    auto changed = pool;
    BlockCopy copy{5, kLayers, kBlocks, kBytes, changed.data(), ids.data(), staging.data()};
    REQUIRE(backend->gather_blocks(copy));
    for (std::int64_t l = 0; l < kLayers; ++l) {
      for (const std::int32_t id : ids) {
        std::memset(changed.data() + (l * kBlocks + id) * kBytes, 0, kBytes);
      }
    }
    REQUIRE(changed != pool);
    REQUIRE(backend->scatter_blocks(copy));
    REQUIRE(changed == pool);
  }
}

TEST_CASE("Results do not depend on the number of threads", "[threads]") {
  Values01 random(19);
  const std::int64_t m = 130, n = 190, k = 700;
  const auto a = random.floats(m * k);
  const auto b = random.floats(n * k);
  const auto c = PagedCase::make(20, 8, 2, 64, 16, {300, 90}, {120, 90});
  std::vector<float> first_gemm, first_attention;
  for (const int threads : {1, 2, 5}) {
    auto backend = open_backend({}, {.threads = threads}).value();
    std::vector<float> product(static_cast<std::size_t>(m * n)), attended;
    REQUIRE(backend->gemm({m, n, k, a.data(), b.data(), product.data()}));
    REQUIRE(backend->attention_prefill(c.prefill(attended)));
    if (threads == 1) {
      first_gemm = product;
      first_attention = attended;
    }
    REQUIRE(product == first_gemm);
    REQUIRE(attended == first_attention);
  }
}

TEST_CASE("Launches from several threads on one backend do not disturb each other", "[threads]") {
  Values01 random(23);
  const std::int64_t m = 40, n = 100, k = 200;
  const auto a = random.floats(m * k);
  const auto b = random.floats(n * k);
  auto backend = open_backend({}, {.threads = 2}).value();
  std::vector<std::vector<float>> results(4, std::vector<float>(static_cast<std::size_t>(m * n)));
  std::vector<std::thread> threads;
  for (auto& result : results) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) {
        static_cast<void>(backend->gemm({m, n, k, a.data(), b.data(), result.data()}));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  const auto expected = oracle_gemm(m, n, k, a, b);
  for (const auto& result : results) {
    REQUIRE(difference(result, expected, gemm_tolerance(k)) == "");
  }
}

TEST_CASE("bf16 rounds to nearest even and keeps infinities and NaN", "[bf16]") {
  REQUIRE(to_float(to_bf16(1.0f)) == 1.0f);
  REQUIRE(to_bf16(1.0f + 0x1p-8f).bits == 0x3f80);      // a tie, down to even
  REQUIRE(to_bf16(1.0f + 3 * 0x1p-8f).bits == 0x3f82);  // a tie, up to even
  REQUIRE(to_bf16(1.0f + 0x1p-8f + 0x1p-20f).bits == 0x3f81);
  REQUIRE(std::isinf(to_float(to_bf16(std::numeric_limits<float>::max()))));
  REQUIRE(std::isnan(to_float(to_bf16(std::numeric_limits<float>::signaling_NaN()))));
  REQUIRE(to_bf16(-0.0f).bits == 0x8000);
}

}  // namespace
}  // namespace dyn::kernels::test
