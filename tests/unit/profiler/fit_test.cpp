#include "dyn/profiler/fit.h"

#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "dyn/core/error.h"

namespace dyn::profiler {
namespace {

constexpr FlopsPerSec kPeak{100e9};
constexpr BytesPerSec kBandwidth{20e9};

OperatorFit truth(double compute, double bandwidth, Duration overhead) {
  OperatorFit fit;
  fit.compute_efficiency = compute;
  fit.bandwidth_efficiency = bandwidth;
  fit.overhead = overhead;
  return fit;
}

/// A matrix multiply over rising token counts, timed by `device`.
FitInput timed_by(const OperatorFit& device) {
  FitInput input{OperatorKind::gemm, Precision::bf16, kPeak, kBandwidth, {}, "synthetic"};
  for (double m = 1; m <= 512; m *= 2) {
    for (const double side : {64.0, 512.0, 2048.0}) {
      Sample s{m, 2 * m * side * side, 2 * side * side + 8 * m * side, 0};
      s.seconds = predicted_seconds(device, kPeak, kBandwidth, s);
      input.samples.push_back(s);
    }
  }
  return input;
}

bool refused(const FitInput& input, const std::string& word) {
  try {
    fit_operator(input);
  } catch (const Error& error) {
    return error.kind() == ErrorKind::bad_input &&
           std::string(error.what()).find(word) != std::string::npos;
  }
  return false;
}

TEST_CASE("A fit recovers the constants that made the times", "[fit]") {
  const auto fit = fit_operator(timed_by(truth(0.7, 0.8, std::chrono::microseconds(12))));
  REQUIRE(fit.compute_efficiency == Approx(0.7).epsilon(1e-6));
  REQUIRE(fit.bandwidth_efficiency == Approx(0.8).epsilon(1e-6));
  REQUIRE(std::abs(fit.overhead.count() - 12000) <= 1);
  REQUIRE(fit.correction.empty());
  REQUIRE(fit.relative_error == 0.01);
  REQUIRE(fit.provenance == Provenance::measured);
  REQUIRE(fit.source == "synthetic");
}

TEST_CASE("Any constants are recovered, in whatever order the samples come", "[fit][property]") {
  REQUIRE(rc::check([] {
    // Not so slow that nothing would be bound by memory.
    const double compute = 0.3 + 0.7 * *rc::gen::inRange(0, 1000) / 1000.0;
    const double bandwidth = 0.05 + 0.95 * *rc::gen::inRange(0, 1000) / 1000.0;
    const auto overhead = Duration(*rc::gen::inRange(0, 100'000));
    FitInput input = timed_by(truth(compute, bandwidth, overhead));
    const int turn = *rc::gen::inRange(0, static_cast<int>(input.samples.size()));
    std::rotate(input.samples.begin(), input.samples.begin() + turn, input.samples.end());
    const auto fit = fit_operator(input);
    RC_ASSERT(std::abs(fit.compute_efficiency / compute - 1) < 1e-4);
    RC_ASSERT(std::abs(fit.bandwidth_efficiency / bandwidth - 1) < 1e-4);
    RC_ASSERT(std::abs((fit.overhead - overhead).count()) <= 10);
    RC_ASSERT(fit.relative_error == 0.01);
  }));
}

TEST_CASE("One wild sample in ten does not move the constants", "[fit]") {
  FitInput input = timed_by(truth(0.6, 0.5, std::chrono::microseconds(5)));
  for (std::size_t i = 4; i < input.samples.size(); i += 10) {
    input.samples[i].seconds *= 3;
  }
  const auto fit = fit_operator(input);
  REQUIRE(fit.compute_efficiency == Approx(0.6).epsilon(0.02));
  REQUIRE(fit.bandwidth_efficiency == Approx(0.5).epsilon(0.02));
}

TEST_CASE("What a roofline cannot say goes into the correction table", "[fit]") {
  OperatorFit device = truth(0.7, 0.8, std::chrono::microseconds(2));
  device.correction = {{4, 1.0}, {64, 1.8}, {256, 1.0}};
  const FitInput input = timed_by(device);
  const auto fit = fit_operator(input);
  REQUIRE(fit.correction.size() >= 3);
  REQUIRE(fit.correction.size() <= 6);
  for (std::size_t i = 1; i < fit.correction.size(); ++i) {
    REQUIRE(fit.correction[i].x > fit.correction[i - 1].x);
  }
  double with = 0, without = 0;
  OperatorFit bare = fit;
  bare.correction.clear();
  for (const Sample& s : input.samples) {
    with += std::abs(predicted_seconds(fit, kPeak, kBandwidth, s) / s.seconds - 1);
    without += std::abs(predicted_seconds(bare, kPeak, kBandwidth, s) / s.seconds - 1);
  }
  REQUIRE(with < 0.6 * without);
}

TEST_CASE("The error bar covers nine tenths of fresh samples of the same noise", "[fit]") {
  // Deterministic noise of up to 20 % either way.
  const auto noisy = [](std::uint64_t salt) {
    FitInput input = timed_by(truth(0.7, 0.8, std::chrono::microseconds(2)));
    std::uint64_t state = salt;
    for (Sample& s : input.samples) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      s.seconds *= 0.8 + 0.4 * static_cast<double>(state >> 11) * 0x1p-53;
    }
    return input;
  };
  const auto fit = fit_operator(noisy(1));
  REQUIRE(fit.relative_error > 0.1);
  REQUIRE(fit.relative_error < 0.4);
  int inside = 0, all = 0;
  for (std::uint64_t salt = 2; salt < 12; ++salt) {
    for (const Sample& s : noisy(salt).samples) {
      const double p = predicted_seconds(fit, kPeak, kBandwidth, s);
      inside += std::abs(s.seconds / p - 1) <= fit.relative_error ? 1 : 0;
      ++all;
    }
  }
  REQUIRE(inside >= 0.8 * all);
}

TEST_CASE("Efficiencies stay at or below one even where times beat the device", "[fit]") {
  FitInput input = timed_by(truth(1, 1, Duration(0)));
  for (Sample& s : input.samples) {
    s.seconds *= 0.5;
  }
  const auto fit = fit_operator(input);
  REQUIRE(fit.compute_efficiency == 1.0);
  REQUIRE(fit.bandwidth_efficiency == 1.0);
  REQUIRE(fit.overhead == Duration(0));
  REQUIRE(fit.correction.front().factor == Approx(0.5));
  REQUIRE(fit.relative_error == 0.01);
}

TEST_CASE("An operator that never computes leaves the compute efficiency at one", "[fit]") {
  FitInput input = timed_by(truth(0.5, 0.5, std::chrono::microseconds(1)));
  for (Sample& s : input.samples) {
    s.flops = 0;
    s.seconds = s.bytes / (0.5 * kBandwidth.count()) + 1e-6;
  }
  const auto fit = fit_operator(input);
  REQUIRE(fit.compute_efficiency == 1.0);
  REQUIRE(fit.bandwidth_efficiency == Approx(0.5));
}

TEST_CASE("Samples that cannot be are refused by number", "[fit]") {
  const FitInput good = timed_by(truth(0.7, 0.8, Duration(1000)));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinite = std::numeric_limits<double>::infinity();
  for (const double bad : {nan, infinite, -1.0, 0.0}) {
    FitInput input = good;
    input.samples[3].seconds = bad;
    REQUIRE(refused(input, "sample 3"));
    input = good;
    input.samples[5].x = bad;
    REQUIRE(refused(input, "sample 5"));
    input = good;
    input.peak = FlopsPerSec(bad);
    REQUIRE(refused(input, "peak"));
    input = good;
    input.bandwidth = BytesPerSec(bad);
    REQUIRE(refused(input, "bandwidth"));
  }
  for (const double bad : {nan, infinite, -1.0}) {
    FitInput input = good;
    input.samples[0].flops = bad;
    REQUIRE(refused(input, "sample 0"));
    input = good;
    input.samples[0].bytes = bad;
    REQUIRE(refused(input, "sample 0"));
  }
  FitInput input = good;
  input.samples.resize(1);
  REQUIRE(refused(input, "at least two"));
}

}  // namespace
}  // namespace dyn::profiler
