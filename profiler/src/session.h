#pragma once

#include <string>

#include "dyn/profiler/measure.h"

namespace dyn::profiler {

/// Thrown inside the profiler when the caller cancelled, caught in measure_cpu.
struct Cancelled {};

/// One measurement under way: clock, cancellation and progress for its parts.
class Session {
 public:
  Session(const MeasureOptions& options, Clock& clock) : options_(options), clock_(clock) {}

  Clock& clock() { return clock_; }
  /// A part of the whole budget.
  Duration share(double fraction) const {
    return from_seconds(to_seconds(options_.budget) * fraction);
  }
  void check_cancelled() const {
    if (options_.cancelled != nullptr && options_.cancelled->load()) {
      throw Cancelled{};
    }
  }
  /// Announces what is measured next.
  void step(double fraction, const std::string& what) const {
    check_cancelled();
    if (options_.progress) {
      options_.progress(fraction, what);
    }
  }
  const MeasureSizes& sizes() const { return options_.sizes; }
  /// Median and fastest of repeated runs within `budget`. Throws Cancelled.
  Timing time(Duration budget, const std::function<void()>& body) {
    TimingOptions timing;
    timing.budget = budget;
    timing.min_repeats = options_.sizes.min_repeats;
    timing.cancelled = options_.cancelled;
    const auto result = time_repeatedly(clock_, timing, body);
    if (!result) {
      throw Cancelled{};
    }
    return *result;
  }

 private:
  const MeasureOptions& options_;
  Clock& clock_;
};

}  // namespace dyn::profiler
