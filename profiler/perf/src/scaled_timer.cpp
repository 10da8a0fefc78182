#include <algorithm>
#include <cmath>

#include "dyn/core/check.h"
#include "dyn/perf/perf_model.h"

namespace dyn::perf {

namespace {

class ScaledTimer final : public StepTimer {
 public:
  ScaledTimer(std::shared_ptr<const StepTimer> timer, double factor)
      : timer_(std::move(timer)), factor_(factor) {}

  Duration step_time(const StepBatch& batch) const noexcept override {
    const Duration time = scale(timer_->step_time(batch));
    return batch.empty() ? time : std::max(Duration{1}, time);
  }
  Duration frontend_time() const noexcept override { return scale(timer_->frontend_time()); }

 private:
  Duration scale(Duration time) const noexcept {
    return Duration(static_cast<std::int64_t>(static_cast<double>(time.count()) * factor_ + 0.5));
  }

  std::shared_ptr<const StepTimer> timer_;
  double factor_;
};

}  // namespace

std::shared_ptr<const StepTimer> scaled(std::shared_ptr<const StepTimer> timer, double factor) {
  DYN_ASSERT(timer != nullptr, "scaled() needs a timer");
  DYN_ASSERT(std::isfinite(factor) && factor > 0, "scaled() needs a factor above 0");
  return std::make_shared<ScaledTimer>(std::move(timer), factor);
}

}  // namespace dyn::perf
