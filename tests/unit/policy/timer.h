#pragma once

#include "dyn/perf/step_timer.h"

namespace dyn::policy::test {

/// 1 ms a step, 10 us a prompt token (160 us a block of 16), 100 us a decoding sequence.
class Timer final : public perf::StepTimer {
 public:
  Duration step_time(const perf::StepBatch& batch) const noexcept override {
    using namespace std::chrono_literals;
    return 1ms + 10us * batch.prefill_tokens + 100us * batch.decode_sequences;
  }
};

}  // namespace dyn::policy::test
