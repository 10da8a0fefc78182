#include "dyn/profiler/timing.h"

#include <catch2/catch.hpp>
#include <vector>

namespace dyn::profiler {
namespace {

using std::chrono::microseconds;

/// Stands still until somebody moves it.
class FakeClock final : public Clock {
 public:
  Duration now() override { return now_; }
  void advance(Duration d) { now_ += d; }

 private:
  Duration now_{1000};
};

TEST_CASE("The median is of the repeats, not of the warm-up", "[timing]") {
  FakeClock clock;
  const std::vector<int> times{900, 10, 50, 20, 30, 40};  // us; the first warms up
  std::size_t next = 0;
  TimingOptions options;
  options.min_repeats = options.max_repeats = 5;
  const auto timing =
      time_repeatedly(clock, options, [&] { clock.advance(microseconds(times[next++])); });
  REQUIRE(timing);
  REQUIRE(timing->median == microseconds(30));
  REQUIRE(timing->fastest == microseconds(10));
  REQUIRE(timing->repeats == 5);
}

TEST_CASE("Repeats end when the budget is spent, but not before the least number", "[timing]") {
  FakeClock clock;
  TimingOptions options;
  options.budget = microseconds(100);
  const auto body = [&] { clock.advance(microseconds(10)); };
  REQUIRE(time_repeatedly(clock, options, body)->repeats == 9);  // and one to warm up
  options.budget = microseconds(1);
  REQUIRE(time_repeatedly(clock, options, body)->repeats == options.min_repeats);
  options.budget = std::chrono::hours(1);
  REQUIRE(time_repeatedly(clock, options, body)->repeats == options.max_repeats);
}

TEST_CASE("A body that takes no time is timed as a nanosecond, never as nothing", "[timing]") {
  FakeClock clock;
  REQUIRE(time_repeatedly(clock, {}, [] {})->median == Duration(1));
}

TEST_CASE("Cancelling stops before the next repeat", "[timing]") {
  FakeClock clock;
  std::atomic<bool> cancelled{false};
  TimingOptions options;
  options.cancelled = &cancelled;
  int runs = 0;
  REQUIRE_FALSE(time_repeatedly(clock, options, [&] { cancelled = ++runs == 2; }));
  REQUIRE(runs == 2);
  REQUIRE_FALSE(time_repeatedly(clock, options, [&] { ++runs; }));
  REQUIRE(runs == 2);
}

TEST_CASE("The machine's clock never goes backwards", "[timing]") {
  SteadyClock clock;
  Duration before = clock.now();
  for (int i = 0; i < 1000; ++i) {
    const Duration now = clock.now();
    REQUIRE(now >= before);
    before = now;
  }
}

}  // namespace
}  // namespace dyn::profiler
