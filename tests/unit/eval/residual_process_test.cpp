#include "residual_process.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>

namespace dyn::eval {
namespace {

/// Terms of the covariance: what all names together share, and what an engine's parts do.
constexpr std::size_t kAllNames = 9;
constexpr std::size_t kEngineParts = 0;

/// Points on a line of one quantity, all of one name.
std::vector<CodedPoint> line(int count) {
  std::vector<CodedPoint> points(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    points[static_cast<std::size_t>(i)].numbers[0] = i;
  }
  return points;
}

Kernel simple_kernel() {
  Kernel kernel;
  kernel.weights[0] = 1;
  kernel.amplitudes[kAllNames] = 1;
  kernel.noise = 1e-4;
  return kernel;
}

std::vector<std::size_t> all_of(const std::vector<CodedPoint>& points) {
  std::vector<std::size_t> indices;
  for (std::size_t i = 0; i < points.size(); ++i) {
    indices.push_back(i);
  }
  return indices;
}

TEST_CASE("a residual process takes the word of near measurements and forgets far ones") {
  const std::vector<CodedPoint> points = line(5);
  const std::vector<double> residuals{0.1, 0.2, 0.1, 0.0, 0.3};
  const auto process = ResidualProcess::fit(simple_kernel(), points, residuals, all_of(points));
  for (std::size_t i = 0; i < points.size(); ++i) {
    CHECK(process.at(points[i]).mean == Approx(residuals[i]).margin(0.02));
    CHECK(process.at(points[i]).variance < 0.01);
  }
  CodedPoint far = points[0];
  far.numbers[0] = 100;
  CHECK(process.at(far).mean == Approx(0).margin(1e-9));
  CHECK(process.at(far).variance == Approx(1).epsilon(0.01));
}

TEST_CASE("an unseen model takes what its engine's parts are off by and nothing of other models") {
  std::vector<CodedPoint> points(40);
  std::vector<double> residuals;
  for (std::size_t i = 0; i < points.size(); ++i) {
    // Half the engine's time is a fifth too short; the model alone adds 0.3.
    points[i].numbers[0] = static_cast<double>(i);
    points[i].parts = {1, i % 2 == 0 ? 1.0 : 0.0};
    residuals.push_back(0.3 + 0.2 * points[i].parts[1]);
  }
  Kernel kernel = simple_kernel();
  kernel.amplitudes[kEngineParts] = 1;
  const auto process = ResidualProcess::fit(kernel, points, residuals, all_of(points));
  CodedPoint unseen = points[0];
  unseen.names[3] = -1;
  const double with_part = process.at(unseen).mean;
  unseen.parts[1] = 0;
  CHECK(with_part - process.at(unseen).mean == Approx(0.2).margin(0.02));
  unseen.names[0] = -1;
  CHECK(process.at(unseen).mean == Approx(0).margin(1e-9));
  CHECK(process.at(unseen).variance > process.at(points[1]).variance);
}

TEST_CASE("one wrong measurement among many does not carry the others away") {
  std::vector<CodedPoint> points(21);
  std::vector<double> residuals(21, 0.1);
  residuals[10] = 3;
  Kernel kernel = simple_kernel();
  kernel.noise = 0.01;
  const auto process = ResidualProcess::fit(kernel, points, residuals, {0});
  CHECK(process.at(points[0]).mean < 0.15);  // the mean is 0.24
}

TEST_CASE("centres are chosen where they say most, each place once") {
  std::vector<CodedPoint> points = line(4);
  points.insert(points.end(), points.begin(), points.end());
  const std::vector<std::size_t> centres = choose_centres(simple_kernel(), points, 8);
  std::set<double> places;
  for (const std::size_t i : centres) {
    places.insert(points[i].numbers[0]);
  }
  CHECK(places.size() == 4);
  CHECK(centres.size() == 4);
}

TEST_CASE("the likeliest kernel sees which quantity matters") {
  std::vector<CodedPoint> points;
  std::vector<double> residuals;
  for (int i = 0; i < 60; ++i) {
    CodedPoint point;
    point.numbers[0] = i % 6;
    point.numbers[1] = i % 7;
    points.push_back(point);
    residuals.push_back(i % 6 < 3 ? 0.5 : -0.5);
  }
  const Kernel kernel = likeliest_kernel(points, residuals, 60);
  CHECK(kernel.weights[0] > 3 * kernel.weights[1]);
  CHECK(kernel.noise < 0.05);
}

}  // namespace
}  // namespace dyn::eval
