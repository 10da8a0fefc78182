#pragma once

#include <atomic>
#include <functional>
#include <optional>

#include "dyn/core/quantity.h"

namespace dyn::profiler {

/// What the profiler reads times from; tests put a fake in its place.
class Clock {
 public:
  virtual ~Clock() = default;
  /// Time since some fixed moment; never goes backwards.
  virtual Duration now() = 0;
};

/// The machine's monotonic clock. Thread-safe.
class SteadyClock final : public Clock {
 public:
  Duration now() override;
};

/// What measuring costs and how it is stopped.
struct TimingOptions {
  Duration budget{0};   ///< repeats end when it is spent, warm-up included
  int min_repeats = 3;  ///< but not before so many
  int max_repeats = 200;
  const std::atomic<bool>* cancelled = nullptr;  ///< looked at before every repeat
};

struct Timing {
  Duration median{0};  ///< at least 1 ns
  Duration fastest{0};
  int repeats = 0;
};

/// Times `body`: once to warm up, then again and again. Nothing if cancelled.
std::optional<Timing> time_repeatedly(Clock& clock, const TimingOptions& options,
                                      const std::function<void()>& body);

}  // namespace dyn::profiler
