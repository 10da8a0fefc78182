#include "operators.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "dyn/core/check.h"
#include "dyn/core/error.h"

namespace dyn::profiler {
namespace {

using kernels::Bf16;

/// Samples of an operator that are taken whatever the budget.
constexpr std::size_t kLeastSamples = 6;

constexpr std::int64_t kHeadDim = 128;
constexpr std::int64_t kBlockSize = 16;

/// The layers that are timed: by default those of a small model, so that a run takes seconds.
struct Layer {
  explicit Layer(std::int64_t width)
      : hidden(width), heads(width / kHeadDim), kv_heads(heads / 2) {}

  std::int64_t hidden;
  std::int64_t heads;
  std::int64_t kv_heads;

  /// A token's keys and values, bf16.
  double kv_bytes() const { return static_cast<double>(2 * kv_heads * kHeadDim * 2); }
  /// A token's query and output.
  double row_bytes() const { return static_cast<double>(2 * heads * kHeadDim * 4); }
  /// Of a query-key pair.
  double pair_flops() const { return static_cast<double>(4 * heads * kHeadDim); }
};

void require(const Result<void>& result) {
  if (!result) {
    throw Error(ErrorKind::failed, "a kernel failed: " + result.error().message());
  }
}

std::vector<float> numbers(std::int64_t n) {
  std::vector<float> result(static_cast<std::size_t>(n));
  fill_with_numbers(std::as_writable_bytes(std::span(result)));
  return result;
}

/// Hands out ever other stretches of an area, from its beginning again when it is used up.
class Rotation {
 public:
  explicit Rotation(std::span<std::byte> area) : area_(area) {}
  std::byte* next(std::int64_t bytes) {
    const auto size = static_cast<std::size_t>(bytes + 63) / 64 * 64;
    DYN_ASSERT(size <= area_.size(), "the area holds every operand");
    if (at_ + size > area_.size()) {
      at_ = 0;
    }
    std::byte* result = area_.data() + at_;
    at_ += size;
    return result;
  }

 private:
  std::span<std::byte> area_;
  std::size_t at_ = 0;
};

/// The time of an operator: until when in all, and how long for each size.
struct Share {
  Duration until{0};
  Duration each{0};
};

class Runner {
 public:
  Runner(Session& session, kernels::Backend& backend, std::span<std::byte> area)
      : session_(session),
        backend_(backend),
        layer_(session.sizes().hidden),
        area_(area),
        rotation_(area) {}

  OperatorSamples gemm(Precision weights, Duration budget);
  OperatorSamples prefill(Duration budget);
  OperatorSamples decode(Duration budget);
  OperatorSamples elementwise(Duration budget);

 private:
  Share share(Duration budget, std::size_t sizes) {
    return {session_.clock().now() + budget, budget / static_cast<std::int64_t>(sizes)};
  }
  /// Times `launch` for `time.each`, unless the operator's time is up.
  void sample(OperatorSamples& to, const Share& time, Sample size,
              const std::function<void()>& launch) {
    if (session_.clock().now() >= time.until && to.samples.size() >= kLeastSamples) {
      return;
    }
    const Timing timing = session_.time(time.each, [&] {
      launch();
      require(backend_.synchronize());
    });
    size.seconds = to_seconds(timing.median);
    to.samples.push_back(size);
  }
  /// Keys and values of sequences of `context` tokens each, in scattered blocks of `area_`.
  kernels::PagedKv paged(std::int64_t sequences, std::int64_t context);
  void time_norm(OperatorSamples& to, const Share& time, std::int64_t tokens);
  void time_rope(OperatorSamples& to, const Share& time, std::int64_t tokens);
  void time_gather(OperatorSamples& to, const Share& time, std::int64_t blocks);

  Session& session_;
  kernels::Backend& backend_;
  Layer layer_;
  std::span<std::byte> area_;
  Rotation rotation_;
  std::vector<std::int32_t> table_;
  std::vector<std::int32_t> contexts_;
  std::int32_t first_block_ = 0;
};

OperatorSamples Runner::gemm(Precision weights, Duration budget) {
  OperatorSamples result;
  result.kind = OperatorKind::gemm;
  result.precision = weights;
  result.what = weights == Precision::fp32 ? "GEMM, fp32 weights" : "GEMM, bf16 weights";
  const auto width = static_cast<std::int64_t>(bytes_per_value(weights));
  const std::int64_t hidden = layer_.hidden;
  const std::pair<std::int64_t, std::int64_t> shapes[] = {
      {hidden, hidden}, {2 * hidden, hidden}, {hidden / 2, 2 * hidden}};
  // The ends of the range first, so that whatever there is time for spans it.
  constexpr std::int64_t kTokens[] = {1, 128, 16, 4, 64, 2, 32, 8};
  const Share time = share(budget, std::size(shapes) * std::size(kTokens));
  for (const auto& shape : shapes) {
    const std::int64_t n = shape.first;
    const std::int64_t k = shape.second;
    for (const std::int64_t m : kTokens) {
      const auto a = numbers(m * k);
      std::vector<float> c(static_cast<std::size_t>(m * n));
      Sample size;
      size.x = static_cast<double>(m);
      size.flops = 2.0 * static_cast<double>(m * n * k);
      size.bytes = static_cast<double>(n * k * width + 4 * m * (n + k));
      sample(result, time, size, [&] {
        const std::byte* b = rotation_.next(n * k * width);
        const kernels::Values values = weights == Precision::fp32
                                           ? kernels::Values(reinterpret_cast<const float*>(b))
                                           : kernels::Values(reinterpret_cast<const Bf16*>(b));
        require(backend_.gemm({m, n, k, a.data(), values, c.data()}));
      });
    }
  }
  return result;
}

kernels::PagedKv Runner::paged(std::int64_t sequences, std::int64_t context) {
  const std::int64_t block_values = kBlockSize * layer_.kv_heads * kHeadDim;
  const auto half = static_cast<std::int64_t>(area_.size()) / 2;
  kernels::PagedKv kv;
  kv.sequences = sequences;
  kv.blocks = half / (block_values * 2);
  kv.block_size = kBlockSize;
  kv.kv_heads = layer_.kv_heads;
  kv.head_dim = kHeadDim;
  kv.table_stride = (context + kBlockSize - 1) / kBlockSize;
  kv.keys = reinterpret_cast<const Bf16*>(area_.data());
  kv.values = reinterpret_cast<const Bf16*>(area_.data() + half);
  table_.resize(static_cast<std::size_t>(sequences * kv.table_stride));
  for (std::int32_t& block : table_) {
    // A step that shares no factor with the number of blocks visits all before any twice.
    std::int64_t step = 617;
    while (std::gcd(step, kv.blocks) != 1) {
      ++step;
    }
    first_block_ = static_cast<std::int32_t>((first_block_ + step) % kv.blocks);
    block = first_block_;
  }
  contexts_.assign(static_cast<std::size_t>(sequences), static_cast<std::int32_t>(context));
  kv.block_table = table_.data();
  kv.context = contexts_.data();
  return kv;
}

const float kScale = 1.0f / std::sqrt(static_cast<float>(kHeadDim));

OperatorSamples Runner::prefill(Duration budget) {
  OperatorSamples result;
  result.kind = OperatorKind::attention_prefill;
  result.what = "prefill attention, bf16 cache";
  // Chunk and prior context; the ends of the range first.
  constexpr std::pair<std::int64_t, std::int64_t> kSizes[] = {
      {8, 0},   {128, 1920}, {64, 448},  {32, 0},   {512, 0}, {32, 2016},
      {128, 0}, {16, 1008},  {64, 1984}, {16, 240}, {64, 0},  {256, 0}};
  const Share time = share(budget, std::size(kSizes));
  for (const auto& shape : kSizes) {
    const std::int64_t chunk = shape.first;
    const std::int64_t prior = shape.second;
    const std::int64_t context = chunk + prior;
    const auto query = numbers(chunk * layer_.heads * kHeadDim);
    std::vector<float> out(query.size());
    const std::int32_t starts[] = {0, static_cast<std::int32_t>(chunk)};
    const auto q = static_cast<double>(chunk);
    Sample size;
    size.x = q * static_cast<double>(prior) + 0.5 * q * (q + 1);
    size.flops = layer_.pair_flops() * size.x;
    size.bytes = layer_.kv_bytes() * static_cast<double>(context) + layer_.row_bytes() * q;
    sample(result, time, size, [&] {
      require(backend_.attention_prefill(
          {paged(1, context), layer_.heads, chunk, query.data(), starts, out.data(), kScale}));
    });
  }
  return result;
}

OperatorSamples Runner::decode(Duration budget) {
  OperatorSamples result;
  result.kind = OperatorKind::attention_decode;
  result.what = "decode attention, bf16 cache";
  // Sequences and their context; the ends of the range first.
  constexpr std::pair<std::int64_t, std::int64_t> kSizes[] = {
      {1, 64},   {16, 1024}, {4, 256}, {1, 4096}, {16, 64}, {1, 1024},
      {4, 1024}, {1, 256},   {4, 64},  {16, 256}, {4, 4096}};
  const Share time = share(budget, std::size(kSizes));
  for (const auto& shape : kSizes) {
    const std::int64_t sequences = shape.first;
    const std::int64_t context = shape.second;
    const auto query = numbers(sequences * layer_.heads * kHeadDim);
    std::vector<float> out(query.size());
    Sample size;
    size.x = static_cast<double>(sequences * context);
    size.flops = layer_.pair_flops() * size.x;
    size.bytes = layer_.kv_bytes() * size.x + layer_.row_bytes() * static_cast<double>(sequences);
    sample(result, time, size, [&] {
      require(backend_.attention_decode(
          {paged(sequences, context), layer_.heads, query.data(), out.data(), kScale}));
    });
  }
  return result;
}

void Runner::time_norm(OperatorSamples& to, const Share& time, std::int64_t tokens) {
  const std::int64_t values = tokens * layer_.hidden;
  const auto weight = numbers(layer_.hidden);
  std::vector<float> out(static_cast<std::size_t>(values));
  Sample size;
  size.bytes = 8.0 * static_cast<double>(values);
  size.x = size.bytes;
  size.flops = 4.0 * static_cast<double>(values);
  sample(to, time, size, [&] {
    const auto* x = reinterpret_cast<const float*>(rotation_.next(4 * values));
    require(backend_.rms_norm({tokens, layer_.hidden, x, weight.data(), out.data()}));
  });
}

void Runner::time_rope(OperatorSamples& to, const Share& time, std::int64_t tokens) {
  const std::int64_t values = tokens * layer_.heads * kHeadDim;
  std::vector<std::int32_t> positions(static_cast<std::size_t>(tokens));
  std::iota(positions.begin(), positions.end(), 1000);
  Sample size;
  size.bytes = 8.0 * static_cast<double>(values);
  size.x = size.bytes;
  size.flops = 3.0 * static_cast<double>(values);
  sample(to, time, size, [&] {
    auto* x = reinterpret_cast<float*>(rotation_.next(4 * values));
    require(backend_.rope({tokens, layer_.heads, kHeadDim, 0, x, positions.data()}));
  });
}

void Runner::time_gather(OperatorSamples& to, const Share& time, std::int64_t blocks) {
  kernels::BlockCopy copy;
  copy.count = blocks;
  copy.block_bytes = 2 * kBlockSize * layer_.kv_heads * kHeadDim * 2;
  copy.pool_blocks = static_cast<std::int64_t>(area_.size()) / copy.block_bytes;
  copy.pool = area_.data();
  std::vector<std::byte> staging(static_cast<std::size_t>(blocks * copy.block_bytes));
  copy.staging = staging.data();
  std::vector<std::int32_t> ids(static_cast<std::size_t>(blocks));
  copy.block_ids = ids.data();
  Sample size;
  size.bytes = 2.0 * static_cast<double>(staging.size());
  size.x = size.bytes;
  sample(to, time, size, [&] {
    for (std::int32_t& id : ids) {
      first_block_ = static_cast<std::int32_t>((first_block_ + 617) % copy.pool_blocks);
      id = first_block_;
    }
    require(backend_.gather_blocks(copy));
  });
}

OperatorSamples Runner::elementwise(Duration budget) {
  OperatorSamples result;
  result.kind = OperatorKind::elementwise;
  result.what = "RMSNorm, RoPE and block gather";
  // Between two of these the weights of a layer pass by, so their operands are not in a cache.
  constexpr std::int64_t kSizes[] = {1, 512, 64, 8};
  const Share time = share(budget, 3 * std::size(kSizes));
  for (const std::int64_t size : kSizes) {
    time_norm(result, time, size);
    time_rope(result, time, size);
    time_gather(result, time, std::min<std::int64_t>(size, 128));
  }
  return result;
}

}  // namespace

void fill_with_numbers(std::span<std::byte> area) {
  // 0x3f00 to 0x3f7f as bf16 is 0.5 to 0.998; two of them side by side are a float of that size.
  const std::size_t pattern = std::min<std::size_t>(area.size() / 2 * 2, 4096);
  for (std::size_t i = 0; i < pattern; i += 2) {
    const auto bits = static_cast<std::uint16_t>(0x3f00u | (i * 37 >> 3 & 0x7fu));
    std::memcpy(area.data() + i, &bits, sizeof(bits));
  }
  for (std::size_t at = pattern; at < area.size(); at += pattern) {
    std::memcpy(area.data() + at, area.data(), std::min(pattern, area.size() - at));
  }
}

std::vector<OperatorSamples> time_operators(Session& session, kernels::Backend& backend,
                                            std::span<std::byte> area, Duration budget) {
  fill_with_numbers(area);
  Runner runner(session, backend, area);
  std::vector<OperatorSamples> result;
  session.step(0.40, "matrix multiply, bf16 weights");
  result.push_back(runner.gemm(Precision::bf16, budget * 3 / 10));
  session.step(0.58, "matrix multiply, fp32 weights");
  result.push_back(runner.gemm(Precision::fp32, budget * 3 / 10));
  session.step(0.76, "prefill attention");
  result.push_back(runner.prefill(budget / 5));
  session.step(0.88, "decode attention");
  result.push_back(runner.decode(budget / 10));
  session.step(0.94, "norm, rotary embedding, block gather");
  result.push_back(runner.elementwise(budget / 10));
  return result;
}

}  // namespace dyn::profiler
