// One engine under a closed loop: what the scheduler, the block pool and fast-forward cost,
// without a step-time model (every step takes 10 ms).
#include <benchmark/benchmark.h>

#include <vector>

#include "dyn/engine/engine.h"

namespace {

using namespace dyn;

class ConstantTimer final : public perf::StepTimer {
 public:
  Duration step_time(const perf::StepBatch&) const noexcept override {
    return std::chrono::milliseconds(10);
  }
};

constexpr int kPrompt = 1024;
constexpr int kOutput = 128;
constexpr int kBlock = 16;

/// `hashed`: 0 prompts have no block hashes; 1 distinct prompts; 2 half of each prompt is shared.
class ClosedLoop {
 public:
  ClosedLoop(int concurrency, int hashed, engine::Stepping stepping)
      : concurrency_(concurrency), hashed_(hashed) {
    engine::EngineOptions options;
    options.config.kv_blocks = 20'000;
    options.config.max_model_len = 32'768;
    options.stepping = stepping;
    engine_.emplace(options, std::make_shared<ConstantTimer>());
    hashes_.resize(static_cast<std::size_t>(concurrency));
  }

  /// Runs until `requests` have finished; returns the simulated end.
  SimTime run(std::int64_t requests) {
    std::int64_t sent = 0;
    std::int64_t done = 0;
    SimTime now{};
    for (; sent < concurrency_ && sent < requests; ++sent) {
      submit(static_cast<std::uint32_t>(sent), static_cast<std::uint32_t>(sent), now);
    }
    engine::Outcome outcome;
    engine_->advance(now, outcome);
    while (done < requests) {
      outcome.clear();
      now = *engine_->next_event();
      engine_->advance(now, outcome);
      for (const engine::TokenEvent& token : outcome.tokens) {
        if (!token.finished) {
          continue;
        }
        ++done;
        if (sent < requests) {
          const std::uint32_t lane = token.id.value() % static_cast<std::uint32_t>(concurrency_);
          submit(lane + static_cast<std::uint32_t>(concurrency_) * ++turn_, lane, now);
          ++sent;
        }
      }
      engine_->advance(now, outcome);
    }
    return now;
  }

 private:
  void submit(std::uint32_t id, std::uint32_t lane, SimTime now) {
    engine::EngineRequest request;
    request.id = RequestId(id);
    request.prompt_tokens = kPrompt;
    request.max_output_tokens = kOutput;
    if (hashed_ > 0) {
      // Two trace blocks of 512 tokens.
      auto& hashes = hashes_[lane];
      const kvbm::BlockHash root = kvbm::chain_root("bench");
      hashes.resize(2);
      hashes[0] = kvbm::chain(root, hashed_ == 2 ? 7 : serial_);
      hashes[1] = kvbm::chain(hashes[0], serial_++);
      request.blocks = kvbm::PromptBlocks(hashes, kPrompt / 2 / kBlock, kPrompt / kBlock);
    }
    engine_->submit(request, now);
  }

  int concurrency_;
  int hashed_;
  std::uint32_t turn_ = 0;
  std::uint64_t serial_ = 1000;
  std::optional<engine::Engine> engine_;
  std::vector<std::vector<kvbm::BlockHash>> hashes_;
};

void closed_loop(benchmark::State& state, engine::Stepping stepping) {
  const std::int64_t requests = 20'000;
  for (auto _ : state) {
    ClosedLoop loop(static_cast<int>(state.range(0)), static_cast<int>(state.range(1)), stepping);
    benchmark::DoNotOptimize(loop.run(requests));
  }
  state.SetItemsProcessed(state.iterations() * requests);
}

BENCHMARK_CAPTURE(closed_loop, fast_forward, engine::Stepping::fast_forward)
    ->ArgNames({"concurrency", "hashed"})
    ->ArgsProduct({{64, 256}, {0, 1, 2}})
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(closed_loop, every_step, engine::Stepping::every_step)
    ->ArgNames({"concurrency", "hashed"})
    ->Args({64, 1})
    ->Unit(benchmark::kMillisecond);

}  // namespace
