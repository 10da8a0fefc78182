#include "memory.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "parallel.h"

namespace dyn::profiler {
namespace {

using Vec = std::uint64_t __attribute__((vector_size(16)));
using DoubleVec = double __attribute__((vector_size(16)));

/// Somewhere for results to go, so that no loop is optimised away.
volatile std::uint64_t g_sink = 0;

std::uint64_t sum_of(const std::byte* from, std::size_t bytes) {
  const auto* p = reinterpret_cast<const Vec*>(from);
  Vec a{}, b{}, c{}, d{};
  for (std::size_t i = 0; i + 4 <= bytes / sizeof(Vec); i += 4) {
    a += p[i];
    b += p[i + 1];
    c += p[i + 2];
    d += p[i + 3];
  }
  const Vec total = a + b + c + d;
  return total[0] + total[1];
}

void triad(std::byte* to, const std::byte* from, const std::byte* other, std::size_t bytes) {
  auto* a = reinterpret_cast<DoubleVec*>(to);
  const auto* b = reinterpret_cast<const DoubleVec*>(from);
  const auto* c = reinterpret_cast<const DoubleVec*>(other);
  const DoubleVec s{3.0, 3.0};
  for (std::size_t i = 0; i < bytes / sizeof(DoubleVec); ++i) {
    a[i] = b[i] + s * c[i];
  }
}

BytesPerSec rate(std::size_t bytes, const Timing& timing) {
  return BytesPerSec(static_cast<double>(bytes) / to_seconds(timing.median));
}

/// Time of a load that needs the one before it: a random cycle through all cache lines.
Duration load_latency(Session& session, std::span<std::byte> area, Duration budget) {
  constexpr std::size_t kLine = 64;
  constexpr std::size_t kMostLines = std::size_t{1} << 20;
  constexpr int kSteps = 20000;
  const std::size_t lines = std::min(area.size() / kLine, kMostLines);
  std::vector<std::uint32_t> order(lines);
  for (std::size_t i = 0; i < lines; ++i) {
    order[i] = static_cast<std::uint32_t>(i);
  }
  std::mt19937_64 random(1);
  for (std::size_t i = lines - 1; i > 0; --i) {
    std::swap(order[i], order[random() % i]);  // Sattolo: one cycle through all
  }
  std::byte* const base = area.data();
  for (std::size_t i = 0; i < lines; ++i) {
    std::memcpy(base + i * kLine, &order[i], sizeof(order[i]));
  }
  std::uint32_t at = 0;
  const Timing timing = session.time(budget, [&] {
    for (int i = 0; i < kSteps; ++i) {
      std::memcpy(&at, base + at * kLine, sizeof(at));
    }
    g_sink = at;
  });
  return std::max(timing.median / kSteps, Duration(1));
}

constexpr int kChains = 12;

#if defined(__x86_64__)
/// `kChains` independent chains of multiply-adds of eight lanes.
__attribute__((target("avx2,fma"))) float fma_chains(std::int64_t rounds) {
  __m256 sums[kChains];
  for (int i = 0; i < kChains; ++i) {
    sums[i] = _mm256_set1_ps(static_cast<float>(i));
  }
  const __m256 factor = _mm256_set1_ps(0.999f);
  for (std::int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) {
      sums[i] = _mm256_fmadd_ps(sums[i], factor, factor);
    }
  }
  float total = 0;
  for (int i = 0; i < kChains; ++i) {
    total += _mm256_cvtss_f32(sums[i]);
  }
  return total;
}
#endif

/// The same with a multiply and an add of four lanes.
float plain_chains(std::int64_t rounds) {
  using Narrow = float __attribute__((vector_size(16)));
  Narrow sums[kChains];
  for (int i = 0; i < kChains; ++i) {
    const float x = static_cast<float>(i);
    sums[i] = Narrow{x, x, x, x};
  }
  const float a = 0.999f;
  const Narrow factor{a, a, a, a};
  for (std::int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) {
      sums[i] = sums[i] * factor + factor;
    }
  }
  float total = 0;
  for (int i = 0; i < kChains; ++i) {
    total += sums[i][0];
  }
  return total;
}

bool has_fma() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

}  // namespace

MemoryFigures measure_memory(Session& session, std::span<std::byte> area, int threads,
                             Duration budget) {
  // Three arrays, cut into whole cache lines for each thread.
  const std::size_t slice = area.size() / 3 / static_cast<std::size_t>(threads) / 64 * 64;
  const std::size_t array = slice * static_cast<std::size_t>(threads);
  const auto part = [&](int which, int thread) {
    return area.data() + static_cast<std::size_t>(which) * array +
           static_cast<std::size_t>(thread) * slice;
  };
  MemoryFigures figures;
  const Duration each = budget / 4;
  figures.write = rate(3 * array, session.time(each, [&] {
    in_parallel(threads, [&](int t) {
      for (int which = 0; which < 3; ++which) {
        std::memset(part(which, t), 0, slice);
      }
    });
  }));
  figures.read = rate(3 * array, session.time(each, [&] {
    in_parallel(threads, [&](int t) {
      std::uint64_t total = 0;
      for (int which = 0; which < 3; ++which) {
        total += sum_of(part(which, t), slice);
      }
      if (total == 1) {  // Never: the area is zero. Keeps the loop alive without a shared store.
        g_sink = total;
      }
    });
  }));
  figures.triad = rate(3 * array, session.time(each, [&] {
    in_parallel(threads, [&](int t) { triad(part(0, t), part(1, t), part(2, t), slice); });
  }));
  figures.latency = load_latency(session, area, each);
  return figures;
}

FlopsPerSec measure_peak(Session& session, int threads, Duration budget) {
  constexpr std::int64_t kRounds = 500'000;
  const bool fma = has_fma();
  const Timing timing = session.time(budget, [&] {
    in_parallel(threads, [&](int) {
#if defined(__x86_64__)
      const float result = fma ? fma_chains(kRounds) : plain_chains(kRounds);
#else
      const float result = plain_chains(kRounds);
#endif
      if (result == 1.0f) {  // Never; keeps the loop alive.
        g_sink = 1;
      }
    });
  });
  const double lanes = fma ? 8 : 4;
  return FlopsPerSec(2.0 * lanes * kChains * static_cast<double>(kRounds) * threads /
                     to_seconds(timing.fastest));
}

}  // namespace dyn::profiler
