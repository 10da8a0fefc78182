#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "cases.h"

// Random shapes: the reference against Eigen in double, and every fast variant against both.
namespace dyn::kernels::test {
namespace {

template <class Launch>
void all_agree(const std::vector<double>& expected, double tolerance, Launch&& launch) {
  for (const auto& backend : all_backends()) {
    const std::vector<float> got = launch(*backend);
    const std::string wrong = difference(got, expected, tolerance);
    if (!wrong.empty()) {
      RC_FAIL(backend->name() + ": " + wrong);
    }
  }
}

TEST_CASE("Any GEMM agrees with Eigen", "[property]") {
  REQUIRE(rc::check([] {
    const auto m = *rc::gen::inRange<std::int64_t>(0, 120);
    const auto n = *rc::gen::inRange<std::int64_t>(0, 80);
    const auto k = *rc::gen::inRange<std::int64_t>(0, 600);
    Values01 random(*rc::gen::arbitrary<std::uint64_t>());
    const auto a = random.floats(m * k);
    auto b = random.floats(n * k);
    const bool bf16 = *rc::gen::arbitrary<bool>();
    const auto narrow = narrowed(b);
    if (bf16) {
      b = widened(narrow);
    }
    const Values weights = bf16 ? Values(narrow.data()) : Values(b.data());
    all_agree(oracle_gemm(m, n, k, a, b), 1e-6 * std::sqrt(static_cast<double>(k) + 1),
              [&](Backend& backend) {
                std::vector<float> c(static_cast<std::size_t>(m * n), std::nanf(""));
                RC_ASSERT(backend.gemm({m, n, k, a.data(), weights, c.data()}).has_value());
                return c;
              });
  }));
}

struct Shape {
  std::int64_t heads, kv_heads, head_dim, block_size;
  std::vector<std::int32_t> context, chunks;
};

Shape any_shape(bool decode) {
  Shape shape;
  shape.kv_heads = *rc::gen::inRange<std::int64_t>(1, 5);
  shape.heads = shape.kv_heads * *rc::gen::inRange<std::int64_t>(1, 9);
  shape.head_dim = *rc::gen::inRange<std::int64_t>(1, 70);
  shape.block_size = *rc::gen::inRange<std::int64_t>(1, 80);
  const auto sequences = *rc::gen::inRange<int>(0, 5);
  for (int s = 0; s < sequences; ++s) {
    const auto context = *rc::gen::inRange<std::int32_t>(0, 150);
    shape.context.push_back(context);
    shape.chunks.push_back(decode ? 1 : *rc::gen::inRange<std::int32_t>(0, context + 1));
  }
  return shape;
}

PagedCase any_case(bool decode) {
  const Shape s = any_shape(decode);
  auto c = PagedCase::make(*rc::gen::arbitrary<std::uint64_t>(), s.heads, s.kv_heads, s.head_dim,
                           s.block_size, s.context, s.chunks);
  if (*rc::gen::arbitrary<bool>()) {
    c.use_bf16();
  }
  return c;
}

TEST_CASE("Any prefill agrees with Eigen", "[property]") {
  REQUIRE(rc::check([] {
    const PagedCase c = any_case(false);
    all_agree(oracle_attention(c), 3e-5, [&](Backend& backend) {
      std::vector<float> out;
      RC_ASSERT(backend.attention_prefill(c.prefill(out)).has_value());
      return out;
    });
  }));
}

TEST_CASE("Any decode agrees with Eigen", "[property]") {
  REQUIRE(rc::check([] {
    const PagedCase c = any_case(true);
    all_agree(oracle_attention(c), 3e-5, [&](Backend& backend) {
      std::vector<float> out;
      RC_ASSERT(backend.attention_decode(c.decode(out)).has_value());
      return out;
    });
  }));
}

TEST_CASE("A prompt computed in chunks is the prompt computed at once", "[property]") {
  REQUIRE(rc::check([] {
    const auto context = *rc::gen::inRange<std::int32_t>(2, 120);
    const auto cut = *rc::gen::inRange<std::int32_t>(1, context);
    PagedCase whole =
        PagedCase::make(*rc::gen::arbitrary<std::uint64_t>(), 4, 2, 24, 16, {context}, {context});
    for (Backend* backend : fast_backends()) {
      std::vector<float> at_once, part, joined;
      RC_ASSERT(backend->attention_prefill(whole.prefill(at_once)).has_value());
      for (const auto& [first, last] : {std::pair(0, cut), std::pair(cut, context)}) {
        PagedCase chunk = whole;
        chunk.context = {last};
        chunk.query_start = {0, last - first};
        const std::int64_t row = chunk.heads * chunk.head_dim;
        chunk.query.assign(whole.query.begin() + first * row, whole.query.begin() + last * row);
        RC_ASSERT(backend->attention_prefill(chunk.prefill(part)).has_value());
        joined.insert(joined.end(), part.begin(), part.end());
      }
      RC_ASSERT(difference(joined, {at_once.begin(), at_once.end()}, 1e-5) == "");
    }
  }));
}

TEST_CASE("Any RMSNorm agrees with Eigen", "[property]") {
  REQUIRE(rc::check([] {
    const auto tokens = *rc::gen::inRange<std::int64_t>(0, 40);
    const auto hidden = *rc::gen::inRange<std::int64_t>(1, 700);
    Values01 random(*rc::gen::arbitrary<std::uint64_t>());
    const auto x = random.floats(tokens * hidden);
    const auto w = random.floats(hidden);
    all_agree(oracle_rms_norm(tokens, hidden, x, w, 1e-6f), 1e-5, [&](Backend& backend) {
      std::vector<float> out(x.size(), std::nanf(""));
      RC_ASSERT(
          backend.rms_norm({tokens, hidden, x.data(), w.data(), out.data(), 1e-6f}).has_value());
      return out;
    });
  }));
}

TEST_CASE("Any RoPE agrees with Eigen and keeps the length of every pair", "[property]") {
  REQUIRE(rc::check([] {
    const auto tokens = *rc::gen::inRange<std::int64_t>(0, 20);
    const auto heads = *rc::gen::inRange<std::int64_t>(0, 6);
    const auto dim = *rc::gen::inRange<std::int64_t>(1, 100);
    const auto rotary = 2 * *rc::gen::inRange<std::int64_t>(dim > 1 ? 1 : 0, dim / 2 + 1);
    RC_PRE(rotary > 0);
    Values01 random(*rc::gen::arbitrary<std::uint64_t>());
    const auto x = random.floats(tokens * heads * dim);
    std::vector<std::int32_t> positions;
    for (std::int64_t t = 0; t < tokens; ++t) {
      positions.push_back(static_cast<std::int32_t>(random.below(1'000'000)));
    }
    Rope launch{tokens, heads, dim, rotary, nullptr, positions.data(), 500000.0};
    all_agree(oracle_rope(launch, x), 2e-6, [&](Backend& backend) {
      auto turned = x;
      launch.x = turned.data();
      RC_ASSERT(backend.rope(launch).has_value());
      return turned;
    });
  }));
}

TEST_CASE("Any scatter undoes its gather", "[property]") {
  REQUIRE(rc::check([] {
    const auto blocks = *rc::gen::inRange<std::int64_t>(1, 40);
    const auto count = *rc::gen::inRange<std::int64_t>(0, blocks + 1);
    const auto layers = *rc::gen::inRange<std::int64_t>(0, 4);
    const auto bytes = *rc::gen::inRange<std::int64_t>(0, 3000);
    Values01 random(*rc::gen::arbitrary<std::uint64_t>());
    std::vector<std::int32_t> ids;
    for (std::int32_t b = 0; b < blocks; ++b) {
      ids.push_back(b);
    }
    for (std::size_t i = ids.size(); i > 1; --i) {
      std::swap(ids[i - 1], ids[static_cast<std::size_t>(random.below(static_cast<int>(i)))]);
    }
    std::vector<std::byte> pool(static_cast<std::size_t>(layers * blocks * bytes));
    for (std::byte& b : pool) {
      b = static_cast<std::byte>(random.below(256));
    }
    for (const auto& backend : all_backends()) {
      std::vector<std::byte> staging(static_cast<std::size_t>(layers * count * bytes));
      std::vector<std::byte> target(pool.size());
      BlockCopy copy{count, layers, blocks, bytes, pool.data(), ids.data(), staging.data()};
      RC_ASSERT(backend->gather_blocks(copy).has_value());
      copy.pool = target.data();
      RC_ASSERT(backend->scatter_blocks(copy).has_value());
      for (std::int64_t l = 0; l < layers; ++l) {
        for (std::int64_t i = 0; i < blocks; ++i) {
          const auto at = (l * blocks + ids[static_cast<std::size_t>(i)]) * bytes;
          const std::vector<std::byte> got(target.begin() + at, target.begin() + at + bytes);
          const std::vector<std::byte> was(pool.begin() + at, pool.begin() + at + bytes);
          RC_ASSERT(got == (i < count ? was : std::vector<std::byte>(was.size())));
        }
      }
    }
  }));
}

}  // namespace
}  // namespace dyn::kernels::test
