#include "dyn/profiler/timing.h"

#include <algorithm>
#include <chrono>
#include <vector>

namespace dyn::profiler {

Duration SteadyClock::now() {
  return std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch());
}

std::optional<Timing> time_repeatedly(Clock& clock, const TimingOptions& options,
                                      const std::function<void()>& body) {
  const auto cancelled = [&] { return options.cancelled != nullptr && options.cancelled->load(); };
  if (cancelled()) {
    return std::nullopt;
  }
  const Duration start = clock.now();
  body();
  std::vector<Duration> times;
  Duration before = clock.now();
  while (
      static_cast<int>(times.size()) < options.max_repeats &&
      (static_cast<int>(times.size()) < options.min_repeats || before - start < options.budget)) {
    if (cancelled()) {
      return std::nullopt;
    }
    body();
    const Duration after = clock.now();
    times.push_back(std::max(after - before, Duration(1)));
    before = after;
  }
  std::sort(times.begin(), times.end());
  Timing timing;
  timing.repeats = static_cast<int>(times.size());
  if (!times.empty()) {
    timing.median = times[times.size() / 2];
    timing.fastest = times.front();
  }
  return timing;
}

}  // namespace dyn::profiler
