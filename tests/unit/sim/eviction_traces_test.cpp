// Evictors on Mooncake's public traces. The LRU figures are those that others get for the traces:
// 10,000 and 50,000 blocks, hits in % of blocks and of tokens.
#include <catch2/catch.hpp>
#include <optional>

#include "cache_replay.h"
#include "paths.h"

namespace dyn::sim {
namespace {

using test::CacheHits;
using test::replay_cache;

struct Trace {
  const char* name;
  std::size_t blocks;
  double small_blocks, small_tokens;  ///< LRU of 10,000 blocks, %
  double large_blocks, large_tokens;  ///< LRU of 50,000 blocks, %
  double infinite_tokens;             ///< %
};

constexpr Trace kTraces[] = {
    {"conversation_trace", 288'500, 21.1, 21.5, 35.5, 36.2, 37.4},
    {"synthetic_trace", 121'877, 42.4, 43.1, 64.0, 65.1, 65.1},
};

Workload load(const Trace& trace, std::optional<std::int64_t> limit = {}) {
  Traffic traffic;
  traffic.limit = limit;
  return load_trace(test::reference_data("traces/" + std::string(trace.name) + ".jsonl").string(),
                    traffic, 1);
}

TEST_CASE("LRU and infinite caches find in Mooncake's traces what is published") {
  if (!test::have_reference_data()) {
    WARN("skipped: the reference data is not at hand");
    return;
  }
  for (const Trace& trace : kTraces) {
    const Workload workload = load(trace);
    INFO(trace.name);
    REQUIRE(workload.blocks.size() == trace.blocks);
    const CacheHits small = replay_cache(workload, 10'000, EvictionKind::lru);
    const CacheHits large = replay_cache(workload, 50'000, EvictionKind::lru);
    const CacheHits infinite = replay_cache(workload, trace.blocks, EvictionKind::lru);
    CHECK(100 * small.blocks == Approx(trace.small_blocks).margin(0.2));
    CHECK(100 * small.tokens == Approx(trace.small_tokens).margin(0.2));
    CHECK(100 * large.blocks == Approx(trace.large_blocks).margin(0.2));
    CHECK(100 * large.tokens == Approx(trace.large_tokens).margin(0.2));
    CHECK(100 * infinite.tokens == Approx(trace.infinite_tokens).margin(0.2));
  }
}

TEST_CASE("no evictor finds more in Mooncake's traces than the Belady bound") {
  if (!test::have_reference_data()) {
    WARN("skipped: the reference data is not at hand");
    return;
  }
  for (const Trace& trace : kTraces) {
    const Workload workload = load(trace, 2'000);
    for (const std::uint64_t capacity : {1'000, 5'000}) {
      INFO(trace.name << ", " << capacity << " blocks");
      const CacheHits bound = replay_cache(workload, capacity, EvictionKind::belady);
      CHECK(bound.blocks <= replay_cache(workload, trace.blocks, EvictionKind::lru).blocks);
      for (const EvictionKind kind : {EvictionKind::lru, EvictionKind::s3_fifo,
                                      EvictionKind::tiny_lfu, EvictionKind::cost_aware}) {
        CHECK(replay_cache(workload, capacity, kind).blocks <= bound.blocks);
      }
    }
  }
}

TEST_CASE("the Belady bound holds on made conversations too") {
  const Workload workload = make_conversation(400, std::chrono::seconds(400), 7);
  for (const std::uint64_t capacity : {50, 500, 3'000}) {
    const CacheHits bound = replay_cache(workload, capacity, EvictionKind::belady);
    for (const EvictionKind kind : {EvictionKind::lru, EvictionKind::s3_fifo,
                                    EvictionKind::tiny_lfu, EvictionKind::cost_aware}) {
      CHECK(replay_cache(workload, capacity, kind).blocks <= bound.blocks);
    }
  }
}

}  // namespace
}  // namespace dyn::sim
