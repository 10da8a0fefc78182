#pragma once

#include <chrono>
#include <cmath>
#include <compare>
#include <cstdint>

namespace dyn {

/// A number with a dimension. Only operations that keep the dimension right exist; the bare
/// number comes out by `count()` alone.
template <class Tag, class Rep>
class Quantity {
 public:
  using rep = Rep;

  constexpr Quantity() = default;
  constexpr explicit Quantity(Rep value) : value_(value) {}
  constexpr Rep count() const { return value_; }

  constexpr auto operator<=>(const Quantity&) const = default;
  constexpr Quantity& operator+=(Quantity other) { return value_ += other.value_, *this; }
  constexpr Quantity& operator-=(Quantity other) { return value_ -= other.value_, *this; }
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return a += b; }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return a -= b; }
  friend constexpr Quantity operator*(Quantity a, Rep factor) {
    return Quantity(a.value_ * factor);
  }
  friend constexpr Quantity operator*(Rep factor, Quantity a) {
    return Quantity(a.value_ * factor);
  }
  friend constexpr Quantity operator/(Quantity a, Rep divisor) {
    return Quantity(a.value_ / divisor);
  }
  /// The ratio of two equal dimensions is a bare number.
  friend constexpr double operator/(Quantity a, Quantity b) {
    return static_cast<double>(a.value_) / static_cast<double>(b.value_);
  }

 private:
  Rep value_{};
};

using Bytes = Quantity<struct BytesTag, std::int64_t>;
using Tokens = Quantity<struct TokensTag, std::int64_t>;
using Flops = Quantity<struct FlopsTag, double>;
using BytesPerSec = Quantity<struct BytesPerSecTag, double>;
using FlopsPerSec = Quantity<struct FlopsPerSecTag, double>;
using TokensPerSec = Quantity<struct TokensPerSecTag, double>;
using RequestsPerSec = Quantity<struct RequestsPerSecTag, double>;
using Watts = Quantity<struct WattsTag, double>;
using Dollars = Quantity<struct DollarsTag, double>;
using DollarsPerHour = Quantity<struct DollarsPerHourTag, double>;

/// Every duration is in integer nanoseconds.
using Duration = std::chrono::nanoseconds;

/// The clock of simulated and of served time: nanoseconds since the start of a run. It has no
/// `now()` on purpose: whoever drives a policy says what time it is.
struct SimClock {
  using duration = Duration;
  using rep = Duration::rep;
  using period = Duration::period;
  using time_point = std::chrono::time_point<SimClock, Duration>;
  static constexpr bool is_steady = true;
};
using SimTime = SimClock::time_point;

/// Rounds to the nearest nanosecond (half away from zero).
inline Duration from_seconds(double seconds) {
  return Duration(static_cast<std::int64_t>(std::llround(seconds * 1e9)));
}
constexpr double to_seconds(Duration d) {
  return static_cast<double>(d.count()) * 1e-9;
}
constexpr double to_millis(Duration d) {
  return static_cast<double>(d.count()) * 1e-6;
}

inline Duration operator/(Bytes bytes, BytesPerSec rate) {
  return from_seconds(static_cast<double>(bytes.count()) / rate.count());
}
inline Duration operator/(Flops work, FlopsPerSec rate) {
  return from_seconds(work.count() / rate.count());
}

namespace literals {
constexpr Bytes operator""_B(unsigned long long v) {
  return Bytes(static_cast<std::int64_t>(v));
}
constexpr Bytes operator""_KiB(unsigned long long v) {
  return Bytes(static_cast<std::int64_t>(v) << 10);
}
constexpr Bytes operator""_MiB(unsigned long long v) {
  return Bytes(static_cast<std::int64_t>(v) << 20);
}
constexpr Bytes operator""_GiB(unsigned long long v) {
  return Bytes(static_cast<std::int64_t>(v) << 30);
}
constexpr Bytes operator""_GB(unsigned long long v) {
  return Bytes(static_cast<std::int64_t>(v) * 1'000'000'000);
}
constexpr BytesPerSec operator""_GBps(long double v) {
  return BytesPerSec(static_cast<double>(v) * 1e9);
}
constexpr BytesPerSec operator""_GBps(unsigned long long v) {
  return BytesPerSec(static_cast<double>(v) * 1e9);
}
constexpr FlopsPerSec operator""_TFLOPs(long double v) {
  return FlopsPerSec(static_cast<double>(v) * 1e12);
}
constexpr FlopsPerSec operator""_TFLOPs(unsigned long long v) {
  return FlopsPerSec(static_cast<double>(v) * 1e12);
}
}  // namespace literals

}  // namespace dyn
