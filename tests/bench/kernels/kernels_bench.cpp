// Times of the CPU kernels: reference, baseline and best instruction set; one thread and all.
// Shapes are those of one layer of a 1-2 billion parameter model.
#include <benchmark/benchmark.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "dyn/kernels/backend.h"

namespace dyn::kernels {
namespace {

enum Variant : std::int64_t { kReference, kGeneric, kBest, kBestAllThreads };

std::unique_ptr<Backend> open(std::int64_t variant) {
  BackendOptions options;
  options.reference = variant == kReference;
  options.threads = variant == kBestAllThreads ? 0 : 1;
  if (variant == kGeneric) {
    options.isa = Isa::generic;
  }
  return open_backend({}, options).value();
}

void require(const Result<void>& result) {
  if (!result) {
    throw std::runtime_error(result.error().message());
  }
}

std::vector<float> ramp(std::int64_t n) {
  std::vector<float> result(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] = static_cast<float>(i % 97) * 0.01f - 0.5f;
  }
  return result;
}

void rate(benchmark::State& state, const char* name, double per_iteration) {
  state.counters[name] =
      benchmark::Counter(per_iteration, benchmark::Counter::kIsIterationInvariantRate);
}

/// Arguments: variant, tokens, whether weights are bf16.
void gemm(benchmark::State& state) {
  const auto backend = open(state.range(0));
  const std::int64_t m = state.range(1), n = 2048, k = 2048;
  const auto a = ramp(m * k);
  const auto b = ramp(n * k);
  std::vector<Bf16> narrow;
  for (const float value : b) {
    narrow.push_back(to_bf16(value));
  }
  std::vector<float> c(static_cast<std::size_t>(m * n));
  Gemm launch{m, n, k, a.data(), Values(b.data()), c.data()};
  if (state.range(2) != 0) {
    launch.b = Values(narrow.data());
  }
  for (auto _ : state) {
    require(backend->gemm(launch));
  }
  state.SetLabel(backend->name());
  rate(state, "flop/s", 2.0 * static_cast<double>(m * n * k));
}
BENCHMARK(gemm)
    ->ArgsProduct({{kGeneric, kBest, kBestAllThreads}, {1, 16, 256}, {0, 1}})
    ->Args({kReference, 16, 0})
    ->UseRealTime();

/// Arguments: variant, query tokens, context, sequences. 16 heads of 128 over 8 key/value heads.
void attention(benchmark::State& state) {
  const auto backend = open(state.range(0));
  const std::int64_t chunk = state.range(1), context = state.range(2), sequences = state.range(3);
  constexpr std::int64_t kHeads = 16, kKvHeads = 8, kDim = 128, kBlock = 16;
  const std::int64_t per_sequence = (context + kBlock - 1) / kBlock;
  const auto keys = ramp(sequences * per_sequence * kBlock * kKvHeads * kDim);
  std::vector<std::int32_t> table, contexts, starts{0};
  for (std::int64_t s = 0; s < sequences; ++s) {
    for (std::int64_t b = 0; b < per_sequence; ++b) {
      table.push_back(static_cast<std::int32_t>(b * sequences + s));
    }
    contexts.push_back(static_cast<std::int32_t>(context));
    starts.push_back(static_cast<std::int32_t>((s + 1) * chunk));
  }
  const auto query = ramp(sequences * chunk * kHeads * kDim);
  std::vector<float> out(query.size());
  PagedKv kv{sequences, sequences * per_sequence, kBlock, kKvHeads, kDim, per_sequence};
  kv.keys = kv.values = Values(keys.data());
  kv.block_table = table.data();
  kv.context = contexts.data();
  for (auto _ : state) {
    require(chunk == 1 ? backend->attention_decode({kv, kHeads, query.data(), out.data(), 0.1f})
                       : backend->attention_prefill({kv, kHeads, sequences * chunk, query.data(),
                                                     starts.data(), out.data(), 0.1f}));
  }
  state.SetLabel(backend->name());
  const double pairs = static_cast<double>(sequences * chunk) *
                       (static_cast<double>(context) - static_cast<double>(chunk - 1) / 2);
  rate(state, "flop/s", 4.0 * pairs * kHeads * kDim);
}
BENCHMARK(attention)
    ->ArgsProduct({{kGeneric, kBest, kBestAllThreads}, {512}, {512, 2048}, {1}})
    ->ArgsProduct({{kGeneric, kBest, kBestAllThreads}, {1}, {2048}, {1, 8}})
    ->Args({kReference, 64, 512, 1})
    ->UseRealTime();

/// Arguments: variant, tokens.
void rms_norm(benchmark::State& state) {
  const auto backend = open(state.range(0));
  const std::int64_t tokens = state.range(1), hidden = 2048;
  const auto x = ramp(tokens * hidden);
  const auto weight = ramp(hidden);
  std::vector<float> out(x.size());
  for (auto _ : state) {
    require(backend->rms_norm({tokens, hidden, x.data(), weight.data(), out.data()}));
  }
  state.SetLabel(backend->name());
  rate(state, "byte/s", 8.0 * static_cast<double>(tokens * hidden));
}
BENCHMARK(rms_norm)
    ->ArgsProduct({{kReference, kGeneric, kBest, kBestAllThreads}, {16, 1024}})
    ->UseRealTime();

/// Arguments: variant, tokens.
void rope(benchmark::State& state) {
  const auto backend = open(state.range(0));
  const std::int64_t tokens = state.range(1), heads = 16, dim = 128;
  auto x = ramp(tokens * heads * dim);
  std::vector<std::int32_t> positions;
  for (std::int64_t t = 0; t < tokens; ++t) {
    positions.push_back(static_cast<std::int32_t>(t));
  }
  for (auto _ : state) {
    require(backend->rope({tokens, heads, dim, 0, x.data(), positions.data()}));
  }
  state.SetLabel(backend->name());
  rate(state, "byte/s", 8.0 * static_cast<double>(tokens * heads * dim));
}
BENCHMARK(rope)
    ->ArgsProduct({{kReference, kGeneric, kBest, kBestAllThreads}, {1024}})
    ->UseRealTime();

/// Arguments: variant, blocks. 28 layers of 64 KiB, as 16 tokens of a small model's cache.
void gather(benchmark::State& state) {
  const auto backend = open(state.range(0));
  const std::int64_t count = state.range(1), layers = 28, bytes = 65536, pool_blocks = 64;
  std::vector<std::byte> pool(static_cast<std::size_t>(layers * pool_blocks * bytes));
  std::vector<std::byte> staging(static_cast<std::size_t>(layers * count * bytes));
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < count; ++i) {
    ids.push_back(static_cast<std::int32_t>(i * 37 % pool_blocks));
  }
  for (auto _ : state) {
    require(backend->gather_blocks(
        {count, layers, pool_blocks, bytes, pool.data(), ids.data(), staging.data()}));
  }
  state.SetLabel(backend->name());
  rate(state, "byte/s", 2.0 * static_cast<double>(staging.size()));
}
BENCHMARK(gather)->ArgsProduct({{kBest, kBestAllThreads}, {16}})->UseRealTime();

}  // namespace
}  // namespace dyn::kernels

BENCHMARK_MAIN();
