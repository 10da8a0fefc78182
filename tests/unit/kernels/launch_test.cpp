#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "cases.h"
#include "dyn/kernels/error.h"

namespace dyn::kernels::test {
namespace {

constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max() / 2;

bool fails_with(const Result<void>& result, errc code) {
  return !result && result.error() == make_error_code(code);
}

TEST_CASE("An invalid GEMM is refused by name", "[launch]") {
  float x[4] = {};
  const Bf16 w[4] = {};
  for (const auto& backend : all_backends()) {
    REQUIRE(fails_with(backend->gemm({-1, 1, 1, x, x, x}), errc::bad_size));
    REQUIRE(fails_with(backend->gemm({1, 1, 1, x, x, x, -1}), errc::bad_size));
    REQUIRE(fails_with(backend->gemm({1, 1, 1, nullptr, x, x}), errc::null_pointer));
    REQUIRE(fails_with(backend->gemm({1, 1, 1, x, Values(), x}), errc::null_pointer));
    REQUIRE(fails_with(backend->gemm({1, 1, 1, x, w, nullptr}), errc::null_pointer));
    REQUIRE(fails_with(backend->gemm({2, 2, 2, x, x, x, 1}), errc::bad_stride));
    REQUIRE(fails_with(backend->gemm({2, 2, 2, x, x, x, 0, 1}), errc::bad_stride));
    REQUIRE(fails_with(backend->gemm({2, 2, 2, x, x, x, 0, 0, 1}), errc::bad_stride));
    REQUIRE(fails_with(backend->gemm({kHuge, 2, 2, x, x, x}), errc::too_large));
    Values odd(x);
    odd.precision = Precision::fp8;
    REQUIRE(fails_with(backend->gemm({1, 1, 1, x, odd, x}), errc::bad_precision));
  }
}

TEST_CASE("An empty launch needs no pointers and does nothing", "[launch]") {
  for (const auto& backend : all_backends()) {
    REQUIRE(backend->gemm({0, 5, 5}));
    REQUIRE(backend->gemm({5, 0, 5}));
    REQUIRE(backend->rms_norm({0, 8}));
    REQUIRE(backend->rms_norm({8, 0}));
    REQUIRE(backend->rope({0, 2, 8}));
    REQUIRE(backend->gather_blocks({0, 2, 8, 64}));
    REQUIRE(backend->scatter_blocks({0, 2, 8, 64}));
    PagedKv kv;
    kv.block_size = kv.kv_heads = kv.head_dim = 1;
    REQUIRE(backend->attention_decode({kv, 1}));
    REQUIRE(backend->attention_prefill({kv, 1}));
  }
}

TEST_CASE("Attention refuses heads that do not divide, and sizes below one", "[launch]") {
  const auto c = PagedCase::make(1, 4, 2, 8, 4, {9}, {1});
  std::vector<float> out;
  for (const auto& backend : all_backends()) {
    auto launch = c.decode(out);
    launch.heads = 3;
    REQUIRE(fails_with(backend->attention_decode(launch), errc::bad_heads));
    for (auto field : {&PagedKv::block_size, &PagedKv::kv_heads, &PagedKv::head_dim}) {
      launch = c.decode(out);
      launch.kv.*field = 0;
      REQUIRE(fails_with(backend->attention_decode(launch), errc::bad_size));
      launch.kv.*field = kHuge;
      REQUIRE(!backend->attention_decode(launch));
    }
    for (auto field : {&PagedKv::sequences, &PagedKv::blocks, &PagedKv::table_stride}) {
      launch = c.decode(out);
      launch.kv.*field = -1;
      REQUIRE(fails_with(backend->attention_decode(launch), errc::bad_size));
    }
    launch = c.decode(out);
    launch.scale = std::nanf("");
    REQUIRE(fails_with(backend->attention_decode(launch), errc::bad_parameter));
    launch = c.decode(out);
    launch.kv.values.precision = Precision::bf16;
    REQUIRE(fails_with(backend->attention_decode(launch), errc::bad_precision));
  }
}

TEST_CASE("Attention refuses null pointers one by one", "[launch]") {
  const auto c = PagedCase::make(1, 4, 2, 8, 4, {9}, {2});
  std::vector<float> out;
  for (const auto& backend : all_backends()) {
    const auto refused = [&](auto change) {
      auto launch = c.prefill(out);
      change(launch);
      return fails_with(backend->attention_prefill(launch), errc::null_pointer);
    };
    REQUIRE(refused([](PrefillAttention& p) { p.query = nullptr; }));
    REQUIRE(refused([](PrefillAttention& p) { p.out = nullptr; }));
    REQUIRE(refused([](PrefillAttention& p) { p.query_start = nullptr; }));
    REQUIRE(refused([](PrefillAttention& p) { p.kv.context = nullptr; }));
    REQUIRE(refused([](PrefillAttention& p) { p.kv.block_table = nullptr; }));
    REQUIRE(refused([](PrefillAttention& p) { p.kv.keys.data = nullptr; }));
    REQUIRE(refused([](PrefillAttention& p) { p.kv.values.data = nullptr; }));
  }
}

TEST_CASE("Attention refuses tables and bounds that lead astray, and writes nothing", "[launch]") {
  const auto good = PagedCase::make(1, 4, 2, 8, 4, {9, 5}, {3, 2});
  std::vector<float> out;
  for (const auto& backend : all_backends()) {
    const auto refused = [&](errc code, auto change) {
      auto c = good;
      change(c);
      const bool result = fails_with(backend->attention_prefill(c.prefill(out)), code);
      return result && std::isnan(out.front()) && std::isnan(out.back());
    };
    REQUIRE(refused(errc::bad_block, [](PagedCase& c) { c.table[0] = -1; }));
    REQUIRE(refused(errc::bad_block, [](PagedCase& c) { c.table[2] = 1000; }));
    REQUIRE(refused(errc::bad_sequence, [](PagedCase& c) { c.query_start[0] = 1; }));
    REQUIRE(refused(errc::bad_sequence, [](PagedCase& c) { c.query_start[1] = 6; }));
    REQUIRE(refused(errc::bad_sequence, [](PagedCase& c) { c.context[0] = 2; }));
    REQUIRE(refused(errc::bad_sequence, [](PagedCase& c) { c.context[1] = -4; }));
    REQUIRE(refused(errc::table_too_short, [](PagedCase& c) { c.context[1] = 4000; }));
    auto c = good;
    c.query_start = {0, 2, 3};
    auto launch = c.prefill(out);
    launch.tokens = 4;
    REQUIRE(fails_with(backend->attention_prefill(launch), errc::bad_sequence));
    auto decode = good.decode(out);
    decode.kv.table_stride = 1;
    REQUIRE(fails_with(backend->attention_decode(decode), errc::table_too_short));
  }
}

TEST_CASE("Norm and rotation refuse parameters out of range", "[launch]") {
  float x[8] = {};
  const std::int32_t positions[2] = {};
  for (const auto& backend : all_backends()) {
    REQUIRE(fails_with(backend->rms_norm({1, -8, x, x, x}), errc::bad_size));
    REQUIRE(fails_with(backend->rms_norm({1, 8, x, nullptr, x}), errc::null_pointer));
    REQUIRE(fails_with(backend->rms_norm({1, 8, x, x, x, -1.0f}), errc::bad_parameter));
    REQUIRE(fails_with(backend->rms_norm({1, 8, x, x, x, std::nanf("")}), errc::bad_parameter));
    REQUIRE(fails_with(backend->rms_norm({kHuge, 8, x, x, x}), errc::too_large));
    REQUIRE(fails_with(backend->rope({1, -1, 8, 8, x, positions}), errc::bad_size));
    REQUIRE(fails_with(backend->rope({1, 1, 7, 0, x, positions}), errc::bad_parameter));
    REQUIRE(fails_with(backend->rope({1, 1, 8, 3, x, positions}), errc::bad_parameter));
    REQUIRE(fails_with(backend->rope({1, 1, 8, 10, x, positions}), errc::bad_parameter));
    REQUIRE(fails_with(backend->rope({1, 1, 8, -2, x, positions}), errc::bad_parameter));
    REQUIRE(fails_with(backend->rope({1, 1, 8, 8, x, positions, 0.0}), errc::bad_parameter));
    REQUIRE(fails_with(backend->rope({1, 1, 8, 8, x, nullptr}), errc::null_pointer));
    REQUIRE(fails_with(backend->rope({1, 1, 8, 8, nullptr, positions}), errc::null_pointer));
  }
}

TEST_CASE("Block copies refuse blocks outside the pool, and scatters that collide", "[launch]") {
  std::byte pool[8] = {};
  std::byte staging[8] = {};
  const std::int32_t twice[2] = {1, 1};
  const std::int32_t outside[2] = {0, 4};
  const std::int32_t below[2] = {0, -1};
  for (const auto& backend : all_backends()) {
    REQUIRE(
        fails_with(backend->gather_blocks({2, 1, 4, 2, pool, outside, staging}), errc::bad_block));
    REQUIRE(
        fails_with(backend->scatter_blocks({2, 1, 4, 2, pool, below, staging}), errc::bad_block));
    REQUIRE(fails_with(backend->scatter_blocks({2, 1, 4, 2, pool, twice, staging}),
                       errc::duplicate_block));
    REQUIRE(backend->gather_blocks({2, 1, 4, 2, pool, twice, staging}));
    REQUIRE(fails_with(backend->gather_blocks({2, 1, 4, 2, nullptr, twice, staging}),
                       errc::null_pointer));
    REQUIRE(
        fails_with(backend->gather_blocks({2, 1, 4, -2, pool, twice, staging}), errc::bad_size));
    REQUIRE(fails_with(backend->gather_blocks({kHuge, 2, 4, 2, pool, twice, staging}),
                       errc::too_large));
  }
}

TEST_CASE("A device that is not there cannot be opened", "[backend]") {
  const auto refused = [](const auto& result, errc code) {
    return !result && result.error() == make_error_code(code) && !result.error().message().empty();
  };
  REQUIRE(refused(open_backend({DeviceKind::cuda, 0}), errc::no_device));
  REQUIRE(refused(open_backend({DeviceKind::cpu, 1}), errc::no_device));
  REQUIRE(refused(open_backend({}, {.threads = -1}), errc::bad_parameter));
}

TEST_CASE("Buffers hold what was copied into them and survive being moved", "[backend]") {
  auto backend = open_backend({}).value();
  Buffer buffer = backend->allocate(100).value();
  REQUIRE(buffer.bytes() == 100);
  REQUIRE(reinterpret_cast<std::uintptr_t>(buffer.as<void>()) % 64 == 0);
  const std::vector<char> text(100, 'x');
  REQUIRE(backend->copy(buffer.as<void>(), text.data(), 100));
  Buffer other = std::move(buffer);
  buffer = backend->allocate(0).value();
  REQUIRE(backend->synchronize());
  std::vector<char> back(100);
  REQUIRE(backend->copy(back.data(), other.as<void>(), 100));
  REQUIRE(back == text);
  REQUIRE(!backend->allocate(std::numeric_limits<std::size_t>::max()));
  REQUIRE(fails_with(backend->copy(nullptr, text.data(), 1), errc::null_pointer));
}

TEST_CASE("A backend says what it computes with", "[backend]") {
  REQUIRE(reference().name() == "cpu/reference");
  REQUIRE(open_backend({}, {.isa = Isa::generic}).value()->name() == "cpu/generic");
}

}  // namespace
}  // namespace dyn::kernels::test
