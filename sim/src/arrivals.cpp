#include "arrivals.h"

#include <array>

#include "dyn/core/check.h"

namespace dyn::sim {
namespace {

// sin of 90 degrees x (i + 1/2) / 6: a quarter of a wave of 24 steps.
constexpr std::array<double, 6> kQuarter{0.130526192220052, 0.382683432365090, 0.608761429008721,
                                         0.793353340291235, 0.923879532511287, 0.991444861373810};
constexpr int kRampSteps = 64;

/// -cos over a period of 24 steps, at their middles.
double wave(int step) {
  const auto quarter = [](int i) { return kQuarter[static_cast<std::size_t>(i)]; };
  const int in_half = step % 12;
  const double size = in_half < 6 ? quarter(5 - in_half) : quarter(in_half - 6);
  const bool high = step >= 6 && step < 18;
  return high ? size : -size;
}

}  // namespace

Arrivals::Arrivals(const Traffic& traffic, std::uint64_t seed)
    : process_(traffic.arrivals),
      shape_(1 / (traffic.arrival_cv * traffic.arrival_cv)),
      rate_(traffic.rate.value_or(RequestsPerSec(1)).count()),
      stream_(seed, "arrival") {
  DYN_ASSERT(rate_ > 0, "arrivals have a rate");
  const double period = to_seconds(traffic.period);
  switch (traffic.profile) {
    case RateProfile::steady:
      break;
    case RateProfile::bursts: {
      const double share = traffic.peak_share;
      const double rest = share < 1 ? (1 - traffic.peak * share) / (1 - share) : 0;
      pieces_ = {{period * share, rate_ * traffic.peak}, {period * (1 - share), rate_ * rest}};
      break;
    }
    case RateProfile::diurnal:
      for (int i = 0; i < 24; ++i) {
        // Scaled so that the highest step is the peak.
        pieces_.push_back(
            {period / 24, rate_ * (1 + (traffic.peak - 1) * wave(i) / kQuarter.back())});
      }
      break;
    case RateProfile::ramp:
      for (int i = 0; i < kRampSteps; ++i) {
        const double along = (i + 0.5) / kRampSteps;
        pieces_.push_back(
            {period / kRampSteps, rate_ * (1 / traffic.peak + (1 - 1 / traffic.peak) * along)});
      }
      pieces_.push_back({period, rate_});
      repeats_ = false;
      break;
  }
  left_ = pieces_.empty() ? 0 : pieces_[0].seconds;
}

double Arrivals::gap() {
  switch (process_) {
    case ArrivalProcess::poisson:
      return stream_.exponential(1.0);
    case ArrivalProcess::constant:
      return 1.0;
    case ArrivalProcess::gamma:
      return stream_.gamma(shape_, 1 / shape_);
  }
  return 1.0;
}

SimTime Arrivals::next() {
  if (pieces_.empty()) {
    now_ += process_ == ArrivalProcess::poisson ? stream_.exponential(1.0 / rate_) : gap() / rate_;
    return SimTime(from_seconds(now_));
  }
  double expected = gap();  // arrivals to pass, at mean
  while (true) {
    const Piece& piece = pieces_[piece_];
    const bool last = !repeats_ && piece_ + 1 == pieces_.size();
    if (last || expected < piece.rate * left_) {
      const double seconds = expected / piece.rate;
      now_ += seconds;
      left_ -= seconds;
      return SimTime(from_seconds(now_));
    }
    expected -= piece.rate * left_;
    now_ += left_;
    piece_ = (piece_ + 1) % pieces_.size();
    left_ = pieces_[piece_].seconds;
  }
}

}  // namespace dyn::sim
