#include "surface_fit.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <iterator>

#include "surface_grid.h"

namespace dyn::profiler {
namespace {

/// A device whose kernels step at 8 tokens, where all of it is bound by bandwidth so that no
/// efficiency explains it, beside a smooth slope in n.
SurfaceInput stepped() {
  SurfaceInput input;
  input.quantities = {"tokens", "n"};
  input.peak = FlopsPerSec(1e15);
  input.bandwidth = BytesPerSec(4e12);
  input.designs = {{{{0, {1, 4096}}, {1, {16, 16384}}}},
                   {{{0, {1, 4096}}, {1, {16, 16384}}}, {{0, {}}, {1, {16, 16384}}}}};
  for (const double m : {1., 2., 4., 8., 9., 16., 32., 64., 128., 256., 512., 1024., 4096.}) {
    for (double n = 16; n <= 16384; n = std::floor(n * 1.2)) {
      SurfaceSample s;
      s.at = {m, n};
      s.flops = 2 * m * n * 4096;
      s.bytes = n * 4096;
      s.seconds = (std::max(s.flops / 0.7e15, s.bytes / 3.2e12) + 4e-6) * (m > 8 ? 1.5 : 1) *
                  std::exp2(0.02 * std::log2(n));
      input.samples.push_back(s);
    }
  }
  return input;
}

TEST_CASE("A fifth of the samples is held out, and it is always the same one") {
  SurfaceInput input;
  for (double m = 1; m < 1000; m += 37) {
    for (double n = 16; n < 20'000; n += 611) {
      input.samples.emplace_back().at = {m, n};
    }
  }
  const auto share = [](const std::vector<SurfaceSample>& samples) {
    return static_cast<double>(std::count_if(samples.begin(), samples.end(), held_out)) /
           static_cast<double>(samples.size());
  };
  CHECK(share(input.samples) == Approx(0.2).margin(0.04));
  // Tables are mostly grids of powers of two, and of multiples of them.
  std::vector<SurfaceSample> octaves;
  std::vector<SurfaceSample> multiples;
  for (double m = 1; m <= 65536; m *= 2) {
    for (double n = 64; n <= 65536; n *= 2) {
      for (double k = 64; k <= 65536; k *= 2) {
        octaves.emplace_back().at = {m, n, k};
        multiples.emplace_back().at = {m, 3 * n, 5 * k};
      }
    }
  }
  CHECK(share(octaves) == Approx(0.2).margin(0.02));
  CHECK(share(multiples) == Approx(0.2).margin(0.02));
  // Along one axis too, no value is held out much more or less often than another.
  for (double m = 1; m <= 65536; m *= 2) {
    std::vector<SurfaceSample> row;
    std::copy_if(octaves.begin(), octaves.end(), std::back_inserter(row),
                 [m](const SurfaceSample& s) { return s.at[0] == m; });
    INFO(m);
    CHECK(share(row) == Approx(0.2).margin(0.12));
  }
  SurfaceSample one;
  one.at = {1, 16};
  SurfaceSample same = one;
  same.seconds = 1;
  CHECK(held_out(one) == held_out(same));
}

TEST_CASE("Fine knots are chosen where they pay, and the samples held out say how well") {
  const SurfaceInput input = stepped();
  const std::vector<DesignScore> scores = score_designs(input);
  REQUIRE(scores.size() == 2);
  CHECK(scores[1].median < 0.5 * scores[0].median);
  const OperatorFit coarse = fit_surfaces({}, input, 0);
  const OperatorFit fine = fit_surfaces({}, input, 1);
  CHECK(*fine.held_out_error < *coarse.held_out_error);
  CHECK(*fine.held_out_error < 0.06);
  CHECK(fine.surfaces.size() == 2);
  CHECK(fine.samples == static_cast<std::int64_t>(input.samples.size()));
  CHECK(fine.provenance == Provenance::interpolated);
}

TEST_CASE("Nothing that a fit says depends on the samples held out but its stated errors") {
  SurfaceInput input = stepped();
  const OperatorFit before = fit_surfaces({}, input, 1);
  for (SurfaceSample& s : input.samples) {
    if (held_out(s)) {
      s.seconds *= 7;
    }
  }
  const OperatorFit after = fit_surfaces({}, input, 1);
  CHECK(after.compute_efficiency == before.compute_efficiency);
  CHECK(after.overhead == before.overhead);
  REQUIRE(after.surfaces.size() == before.surfaces.size());
  for (std::size_t i = 0; i < after.surfaces.size(); ++i) {
    CHECK(after.surfaces[i].log2_hundredths == before.surfaces[i].log2_hundredths);
  }
  CHECK(*after.held_out_error > 0.5);
}

TEST_CASE("Modelled times are those of the fitted constants and surfaces") {
  const SurfaceInput input = stepped();
  const OperatorFit fit = fit_surfaces({}, input, 1);
  std::vector<double> errors;
  for (const SurfaceSample& s : input.samples) {
    if (held_out(s)) {
      errors.push_back(std::abs(modelled_seconds(fit, input, s) / s.seconds - 1));
    }
  }
  std::sort(errors.begin(), errors.end());
  CHECK(errors[static_cast<std::size_t>(0.5 * static_cast<double>(errors.size() - 1) + 0.5)] ==
        Approx(*fit.held_out_error).margin(0.001));
}

TEST_CASE("A bare input keeps the time that it was given") {
  SurfaceInput input = stepped();
  input.bare = true;
  for (SurfaceSample& s : input.samples) {
    s.flops = 0;
    s.bytes = s.seconds * input.bandwidth.count() / 1.3;
  }
  const OperatorFit fit = fit_surfaces({}, input, 0);
  CHECK(fit.bandwidth_efficiency == 1);
  CHECK(fit.overhead == Duration{0});
  CHECK(*fit.held_out_error < 0.01);
}

TEST_CASE("Knots beyond the samples are cut to their ends, and axes that do not change left out") {
  std::vector<SurfaceSample> samples(40);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    samples[i].at = {static_cast<double>(10 + i), 7, static_cast<double>(1 + i % 3)};
  }
  const Grid grid = cut({{0, {1, 2, 4, 8, 16, 32, 64, 128, 256}}, {1, {1, 8}}, {2, {}}}, samples);
  REQUIRE(grid.axes.size() == 3);
  CHECK(grid.axes[0].knots == std::vector<double>{10, 16, 32, 49});
  CHECK(grid.axes[1].knots == std::vector<double>{7});
  CHECK(grid.axes[2].knots == std::vector<double>{1, 2, 3});
  CHECK(cut({{0, {1, 64}}, {1, {1, 8}}}, samples).axes.size() == 1);
  CHECK(cut({{1, {}}, {0, {1, 64}}}, samples).axes.empty());
}

}  // namespace
}  // namespace dyn::profiler
