#include "timers.h"

namespace dyn::eval {

CountingTimer::CountingTimer(std::shared_ptr<const perf::StepTimer> timer, bool prefill_apart,
                             Duration delay)
    : timer_(std::move(timer)), prefill_apart_(prefill_apart), delay_(delay) {}

Duration CountingTimer::step_time(const perf::StepBatch& batch) const noexcept {
  if (batch.prefill_sequences == 0) {
    return timer_->step_time(batch);
  }
  Duration time{0};
  if (prefill_apart_ && batch.decode_sequences > 0) {
    perf::StepBatch decode;
    decode.decode_sequences = batch.decode_sequences;
    decode.decode_context = batch.decode_context;
    decode.sampled = batch.decode_sequences;
    perf::StepBatch prefill = batch;
    prefill.decode_sequences = 0;
    prefill.decode_context = 0;
    prefill.sampled = batch.sampled - batch.decode_sequences;
    time = timer_->step_time(prefill) + timer_->step_time(decode);
  } else {
    time = timer_->step_time(batch);
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
