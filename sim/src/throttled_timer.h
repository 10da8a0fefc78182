#pragma once

#include <cmath>
#include <memory>

#include "dyn/perf/step_timer.h"

namespace dyn::sim {

/// The steps of one engine, whose node may be slow for a while.
class ThrottledTimer final : public perf::StepTimer {
 public:
  explicit ThrottledTimer(std::shared_ptr<const perf::StepTimer> timer)
      : timer_(std::move(timer)) {}

  /// `speed` in (0, 1]: what is left of it.
  void set_speed(double speed) { slowdown_ = 1 / speed; }

  Duration step_time(const perf::StepBatch& batch) const noexcept override {
    const Duration time = timer_->step_time(batch);
    return slowdown_ == 1 ? time
                          : Duration(std::llround(static_cast<double>(time.count()) * slowdown_));
  }
  Duration frontend_time() const noexcept override { return timer_->frontend_time(); }

 private:
  std::shared_ptr<const perf::StepTimer> timer_;
  double slowdown_ = 1;
};

}  // namespace dyn::sim
