// The KV-aware router with many workers and long prompts.
#include <benchmark/benchmark.h>

#include <vector>

#include "dyn/policy/router.h"

namespace {

using namespace dyn;

/// Routes prompts of `blocks` blocks over `workers` workers, of which each has the prompt's first
/// half, or less, cached.
void route(benchmark::State& state) {
  const auto workers = static_cast<std::uint32_t>(state.range(0));
  const auto blocks = static_cast<std::uint32_t>(state.range(1));
  policy::RouterOptions options;
  options.workers = workers;
  policy::Router router(options);
  std::vector<kvbm::BlockHash> hashes;
  kvbm::BlockHash hash = kvbm::chain_root("bench");
  for (std::uint32_t b = 0; b < blocks; ++b) {
    hash = kvbm::chain(hash, b);
    hashes.push_back(hash);
  }
  for (std::uint32_t w = 0; w < workers; ++w) {
    for (std::uint32_t b = 0; b < blocks / 2 * (w + 1) / workers; ++b) {
      router.on_kv_event(WorkerId(w), {kvbm::KvEvent::Kind::stored, hashes[b]});
    }
  }
  std::uint32_t id = 0;
  for (auto _ : state) {
    policy::RouteRequest request;
    request.id = RequestId(id);
    request.prompt_tokens = std::int64_t{blocks} * 16;
    request.blocks = kvbm::PromptBlocks(hashes);
    benchmark::DoNotOptimize(router.route(request, SimTime{}));
    router.prefill_done(RequestId(id));
    if (id >= 4 * workers) {
      router.finished(RequestId(id - 4 * workers));
    }
    ++id;
  }
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK(route)->ArgNames({"workers", "blocks"})->ArgsProduct({{8, 128}, {64, 750, 8000}});

void kv_events(benchmark::State& state) {
  const auto workers = static_cast<std::uint32_t>(state.range(0));
  policy::RouterOptions options;
  options.workers = workers;
  options.max_index_segments = 1'000'000;
  policy::Router router(options);
  std::uint64_t serial = 0;
  for (auto _ : state) {
    const WorkerId worker(static_cast<std::uint32_t>(serial % workers));
    router.on_kv_event(worker, {kvbm::KvEvent::Kind::stored, kvbm::BlockHash{serial}});
    if (serial >= 100'000) {
      const std::uint64_t old = serial - 100'000;
      router.on_kv_event(WorkerId(static_cast<std::uint32_t>(old % workers)),
                         {kvbm::KvEvent::Kind::removed, kvbm::BlockHash{old}});
    }
    ++serial;
  }
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK(kv_events)->ArgName("workers")->Arg(8)->Arg(128);

}  // namespace
