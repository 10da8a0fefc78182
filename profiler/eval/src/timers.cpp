#include "timers.h"

#include <algorithm>

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

DraftingTimer::DraftingTimer(std::shared_ptr<const perf::StepTimer> timer, double acceptance,
                             double prompt)
    : timer_(std::move(timer)), acceptance_(acceptance), prompt_(prompt) {}

Duration DraftingTimer::step_time(const perf::StepBatch& batch) const noexcept {
  perf::StepBatch grown = batch;
  const double answered =
      std::max(0.0, static_cast<double>(batch.decode_context) - prompt_ * batch.decode_sequences);
  grown.decode_context += static_cast<std::int64_t>((acceptance_ - 1) * answered);
  return timer_->step_time(grown);
}

Duration CountingTimer::frontend_time() const noexcept {
  return timer_->frontend_time() + delay_;
}

}  // namespace dyn::eval
