#pragma once

#include <cstdint>
#include <memory>

#include "dyn/perf/step_timer.h"

namespace dyn::eval {

/// What the steps with prefill of one engine were.
struct PrefillCount {
  std::int64_t steps = 0;
  std::int64_t tokens = 0;
  std::int64_t sequences = 0;
  double seconds = 0;
};

/// A timer for one simulation that counts what it prices. Steps with prefill are priced once each
/// (only runs of decode steps are foreseen), so that the counts are exact. Not thread-safe, unlike
/// other timers.
class CountingTimer final : public perf::StepTimer {
 public:
  /// `delay` is added to what the frontend takes.
  CountingTimer(std::shared_ptr<const perf::StepTimer> timer, Duration delay);

  Duration step_time(const perf::StepBatch& batch) const noexcept override;
  Duration frontend_time() const noexcept override;
  const PrefillCount& prefill() const { return count_; }

 private:
  std::shared_ptr<const perf::StepTimer> timer_;
  Duration delay_;
  mutable PrefillCount count_;
};

/// Times of an engine whose steps each yield `acceptance` tokens of a sequence, for a simulation
/// whose answers are that much shorter: contexts are as long as the true answers make them.
class DraftingTimer final : public perf::StepTimer {
 public:
  /// `prompt` is the mean length of prompts in tokens.
  DraftingTimer(std::shared_ptr<const perf::StepTimer> timer, double acceptance, double prompt);

  Duration step_time(const perf::StepBatch& batch) const noexcept override;
  Duration frontend_time() const noexcept override { return timer_->frontend_time(); }

 private:
  std::shared_ptr<const perf::StepTimer> timer_;
  double acceptance_;
  double prompt_;
};

}  // namespace dyn::eval
