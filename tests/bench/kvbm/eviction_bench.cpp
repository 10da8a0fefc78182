// Hit rates of the evictors on Mooncake's public traces, and what a block costs each.
#include <benchmark/benchmark.h>

#include <map>

#include "cache_replay.h"
#include "paths.h"

namespace {

using namespace dyn;

const sim::Workload& trace(int which) {
  static std::map<int, sim::Workload> loaded;
  const auto [it, fresh] = loaded.try_emplace(which);
  if (fresh) {
    const char* name =
        which == 0 ? "traces/conversation_trace.jsonl" : "traces/synthetic_trace.jsonl";
    it->second = sim::load_trace(test::reference_data(name).string(), Traffic{}, 1);
  }
  return it->second;
}

/// Arguments: trace, evictor, capacity in blocks of 512 tokens.
void eviction(benchmark::State& state) {
  if (!test::have_reference_data()) {
    state.SkipWithError("the reference data is not at hand");
    return;
  }
  const sim::Workload& workload = trace(static_cast<int>(state.range(0)));
  const auto kind = static_cast<EvictionKind>(state.range(1));
  test::CacheHits hits;
  for ([[maybe_unused]] auto _ : state) {
    hits = test::replay_cache(workload, static_cast<std::uint64_t>(state.range(2)), kind);
  }
  constexpr const char* kNames[] = {"lru", "s3_fifo", "tiny_lfu", "cost_aware", "belady"};
  state.SetLabel(std::string(state.range(0) == 0 ? "conversation " : "synthetic ") +
                 kNames[state.range(1)]);
  state.counters["hit_%_blocks"] = 100 * hits.blocks;
  state.counters["hit_%_tokens"] = 100 * hits.tokens;
  state.counters["ns_a_block"] = benchmark::Counter(
      static_cast<double>(workload.blocks.size()) * 1e-9,
      benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

BENCHMARK(eviction)
    ->ArgsProduct({{0, 1}, {0, 1, 2, 3, 4}, {1000, 3000, 10000, 20000, 50000, 100000}})
    ->Unit(benchmark::kMillisecond)
    ->Iterations(1);

}  // namespace
