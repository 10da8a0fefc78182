#include "timers.h"

namespace dyn::eval {

CountingTimer::CountingTimer(std::shared_ptr<const perf::StepTimer> timer, Duration delay)
    : timer_(std::move(timer)), delay_(delay) {}

Duration CountingTimer::step_time(const perf::StepBatch& batch) const noexcept {
  const Duration time = timer_->step_time(batch);
  if (batch.prefill_sequences == 0) {
    return time;
  }
  ++count_.steps;
  count_.tokens += batch.prefill_tokens;
  count_.sequences += batch.prefill_sequences;
  count_.seconds += to_seconds(time);
  return time;
}

Duration CountingTimer::frontend_time() const noexcept {
  return timer_->frontend_time() + delay_;
}

}  // namespace dyn::eval
